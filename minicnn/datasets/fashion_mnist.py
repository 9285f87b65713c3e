"""Fashion-MNIST: 70,000 pictures of clothes, 28x28 pixels, in MNIST's form (Zalando SE, MIT licence).

See H. Xiao, K. Rasul and R. Vollgraf: Fashion-MNIST, 2017, https://arxiv.org/abs/1708.07747.
"""

from __future__ import annotations

from .mnist_family import Family

CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

SET = Family(
    name="fashion-mnist",
    folders=("fashion-mnist", "FashionMNIST/raw", "FashionMNIST", "fashion_mnist"),
    bases=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    files={
        "x_train": (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        "y_train": (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    "9018921c3c673c538a1fc5bad174d6f9"),
        "x_test": (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                   "8181f5470baa50b63fa0f6fddb340f0a"),
        "y_test": (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                   "15d484375f8d13e6eb1aabb0c3f46965"),
    },
)


def load_data(data_dir=None):
    """Fashion-MNIST in Keras' form, downloaded on first use (30.9 MB).

    Parameters, returns, errors and warnings are those of ``mnist.load_data``; ``CLASS_NAMES`` has the names of the
    ten classes.
    """
    return SET.load_data(data_dir)
