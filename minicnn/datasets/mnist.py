"""MNIST: 70,000 handwritten digits of 28x28 pixels (Y. LeCun, C. Cortes and C. Burges).

Made available under CC BY-SA 3.0; see http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

from .mnist_family import Family

CLASS_NAMES = tuple("0123456789")

SET = Family(
    name="mnist",
    folders=("mnist", "MNIST/raw", "MNIST"),
    bases=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    files={
        "x_train": (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                    "6bbc9ace898e44ae57da46a324031adb"),
        "y_train": (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                    "a25bea736e30d166cdddb491f175f624"),
        "x_test": (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                   "2646ac647ad5339dbf082846283269ea"),
        "y_test": (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                   "27ae3e4e09519cfbb04c329615203637"),
    },
)


def load_data(data_dir=None):
    """MNIST in Keras' form, downloaded on first use (11.6 MB).

    Parameters
    ----------
    data_dir : path, optional
        Where the files lie or go to; else ``MINICNN_DATA_DIR``, else the user's cache folder. Files that torchvision
        (``MNIST/raw``) or Keras (``mnist.npz``) left there, or Keras in its own folder, are used as they are.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        ``x (N, 28, 28)`` uint8 from 0 (background) to 255 and ``y (N,)`` uint8, with 60,000 and 10,000 images.

    Raises
    ------
    ValueError
        For a damaged file; the message names it.
    ConnectionError
        When the files are not here and no address delivers them; the message gives the addresses and the folder.

    Warns
    -----
    UserWarning
        When the files hold fewer images than published. They are used nevertheless.
    """
    return SET.load_data(data_dir)
