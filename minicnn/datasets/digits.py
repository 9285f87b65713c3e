"""The 1,797 handwritten digits of 8x8 pixels that ship with MiniCNN.

They are the test part of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak,
https://doi.org/10.24432/C50P49, CC BY 4.0). A pixel counts how many of the 4x4 dots of a 32x32 scan are black, so its
values run from 0 to 16. ``DIGITS.md`` beside this file tells where the copy comes from and how the splits were made.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASS_NAMES = tuple("0123456789")

SPLITS = {
    "random": "360 test images drawn at random, as many of each digit as its share asks for",
    "writers": "the last 360 images in the set's own order: the hands of writers that training has hardly seen",
}


def load_data(split="random"):
    """The digits, as Keras hands out its data sets.

    Parameters
    ----------
    split : {"random", "writers"}
        ``"random"``: a fixed, stratified draw; every writer has digits in both parts. ``"writers"``: the first 1,437
        images train, the last 360 test. The set lists its writers one after the other, about 128 images each, so the
        test shows handwriting that the network has not trained on (but for 22 images of the first of its three
        writers' blocks). The gap between the two accuracies is what a random split hides.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        ``x (N, 8, 8)`` uint8 with values 0 to 16 and ``y (N,)`` uint8 with 1,437 and 360 images. For a network, scale
        and add the channel axis: ``x_train[..., np.newaxis] / 16``.

    Raises
    ------
    ValueError
        For a split of another name.
    """
    if split not in SPLITS:
        raise ValueError(f"split: unknown name {split!r}; choose one of {', '.join(SPLITS)}")
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels, random_test = file["images"], file["labels"], file["random_test"]
    test = np.zeros(len(labels), bool)
    if split == "random":
        test[random_test] = True
    else:
        test[-len(random_test):] = True
    return (images[~test], labels[~test]), (images[test], labels[test])
