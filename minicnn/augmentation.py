"""Augmentation by words: ``"flip shift=2 rotate=10"`` as the layers that do it.

The layers themselves, with all their options, are in ``minicnn.layers``: ``RandomFlip``, ``RandomTranslation``,
``RandomCrop`` and ``RandomRotation``. Put them at the front of a model; they act in training only.
"""

from __future__ import annotations

import difflib

from minicnn import layers

#: word: (default, what the number means)
WORDS = {
    "flip": (None, "mirror left and right"),
    "flip-vertical": (None, "mirror up and down"),
    "shift": (2, "pixels of shift in either direction"),
    "rotate": (10, "degrees of rotation in either direction"),
    "crop": (None, "size of a square cut out at random (in training; from the centre otherwise)"),
}


def from_words(words, image_shape):
    """Layers from a description.

    Parameters
    ----------
    words : str or list of str
        Entries of ``WORDS`` with an optional number, such as ``"flip crop=24"``, in the order in which they act.
    image_shape : (H, W, C)
        Shape of the pictures that arrive.

    Returns
    -------
    list of Layer
        For the front of a model; the first of them expects ``image_shape``.

    Raises
    ------
    ValueError
        For an unknown word, a bad number, or a crop that is larger than the picture.
    """
    words = words.replace(",", " ").split() if isinstance(words, str) else list(words)
    made, (h, w, _) = [], image_shape
    for entry in words:
        word, _, number = entry.partition("=")
        if word not in WORDS:
            near = difflib.get_close_matches(word, WORDS, n=1)
            raise ValueError(f"augment: unknown word {word!r}{f' (is {near[0]} meant?)' if near else ''}; known are "
                             f"{', '.join(WORDS)}")
        value = _number(word, number)
        if word in ("flip", "flip-vertical"):
            made.append(layers.RandomFlip("horizontal" if word == "flip" else "vertical"))
        elif word == "shift":
            if value > min(h, w):
                raise ValueError(f"augment: shift={value:g} is more than the picture's {h}x{w} pixels")
            made.append(layers.RandomTranslation(value / h, value / w, fill_mode="constant"))
        elif word == "rotate":
            made.append(layers.RandomRotation(min(value / 360, 1.0), fill_mode="constant"))
        else:
            size = int(value)
            if size != value or not 1 <= size <= min(h, w):
                raise ValueError(f"augment: crop={value:g}: expected a size from 1 to {min(h, w)}")
            made.append(layers.RandomCrop(size, size))
            h = w = size
    return made


def _number(word, text):
    default, meaning = WORDS[word]
    if word.startswith("flip"):
        if text:
            raise ValueError(f"augment: {word} takes no number, got {text!r}")
        return 0
    if not text and default is None:
        raise ValueError(f"augment: {word} needs a number, {word}=N: {meaning}")
    try:
        value = float(text) if text else float(default)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"augment: {word}={text}: expected a number of at least 0: {meaning}")
    return value
