"""The layers, under Keras' names."""

from minicnn.layers.activation import Activation
from minicnn.layers.augmentation import RandomCrop, RandomFlip, RandomRotation, RandomTranslation
from minicnn.layers.base import Layer, shape_tuple
from minicnn.layers.convolution import Conv2D
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.pooling import AveragePooling2D, MaxPooling2D
from minicnn.layers.regularization import BatchNormalization, Dropout


class Input:
    """The shape of one input, without the batch axis: ``Input((28, 28, 1))`` as the first entry of a model."""

    def __init__(self, shape):
        self.shape = shape_tuple("shape", shape)

    def __repr__(self):
        return f"Input({self.shape})"


#: Every layer by its class name, as a saved model names it.
LAYERS = {layer.__name__: layer for layer in (Conv2D, MaxPooling2D, AveragePooling2D, Flatten, Dense, Activation,
                                              Dropout, BatchNormalization, RandomFlip, RandomTranslation,
                                              RandomCrop, RandomRotation)}

__all__ = ["LAYERS", "Input", "Layer", *LAYERS]
