"""The documents' networks, and a small one for the embedded digits.

Each function returns a new, untrained model; ``backend``, ``dtype`` and ``seed`` are those of ``Sequential``.
"""

from __future__ import annotations

from minicnn.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from minicnn.models import Sequential


def digits_cnn(seed=0, **options):
    """A small network for the 8x8 digits: two convolutions, one pooling, dropout; 38,282 parameters."""
    return Sequential([
        Input((8, 8, 1)),
        Conv2D(16, 3, padding="same", activation="relu"),
        Conv2D(32, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Flatten(),
        Dropout(0.4),
        Dense(64, activation="relu"),
        Dense(10),
    ], name="digits_cnn", seed=seed, **options)


def mnist_cnn(seed=0, **options):
    """Document 2's network (section 4, Keras) for 28x28 grey images; it ends in logits."""
    return Sequential([
        Input((28, 28, 1)),
        Conv2D(32, (3, 3), activation="relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation="relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation="relu"),
        Flatten(),
        Dense(64, activation="relu"),
        Dense(10),
    ], name="mnist_cnn", seed=seed, **options)


def cifar_cnn(image_size=24, softmax=False, seed=0, **options):
    """Document 1's network (section 1.4) for colour images.

    The document's PyTorch program hands ``64 * 6 * 6`` numbers to its first dense layer, which is what 24x24 images
    give; CIFAR-10's are 32x32 and would need ``64 * 8 * 8``. Here the dense layer finds its size by itself.

    Parameters
    ----------
    image_size : int
        Height and width of the images.
    softmax : bool
        Whether to end in a softmax, as the document's TensorFlow program does. Such a model belongs to a loss with
        ``from_logits=False``; the document says True, which ``compile`` refuses with the reason.
    """
    return Sequential([
        Input((image_size, image_size, 3)),
        Conv2D(32, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Conv2D(64, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Flatten(),
        Dense(128, activation="relu"),
        Dense(10, activation="softmax" if softmax else None),
    ], name="cifar_cnn", seed=seed, **options)


def image_cnn(input_shape, classes, seed=0, **options):
    """A network for pictures of any size and any number of classes: three convolutions, dropout, two dense layers."""
    return Sequential([
        Input(input_shape),
        Conv2D(32, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Conv2D(64, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Conv2D(64, 3, padding="same", activation="relu"),
        Flatten(),
        Dropout(0.3),
        Dense(64, activation="relu"),
        Dense(classes),
    ], name="image_cnn", seed=seed, **options)


#: The networks by name, for the command line.
ZOO = {function.__name__: function for function in (digits_cnn, mnist_cnn, cifar_cnn, image_cnn)}
