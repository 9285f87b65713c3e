"""Models as files: everything comes back, and nothing that is not a good file gets half-way in."""

import json
import os
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

import minicnn
from minicnn import layers, losses, optimizers, saving, zoo
from minicnn.models import Sequential

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6, 6, 1)).astype(np.float32), RNG.integers(0, 3, 40)


def every_layer():
    return Sequential([
        layers.Input((6, 6, 1)), layers.RandomFlip("horizontal"), layers.RandomTranslation(0.2, 0.2, "nearest"),
        layers.RandomRotation(0.1), layers.RandomCrop(5, 6), layers.Conv2D(3, (2, 3), padding="same", name="first"),
        layers.Activation("leaky_relu"), layers.BatchNormalization(momentum=0.7),
        layers.MaxPooling2D(2, strides=1), layers.AveragePooling2D((1, 2)), layers.Flatten(), layers.Dropout(0.3),
        layers.Dense(3, kernel_initializer="he_normal"),
    ], name="everything", seed=5)


def trained(optimizer=None, loss=None):
    model = every_layer()
    model.compile(optimizer or optimizers.Adam(0.003, weight_decay=0.01),
                  loss or losses.SparseCategoricalCrossentropy(label_smoothing=0.1), ["accuracy"])
    model.class_names, model.preprocessing = ("a", "ä", "c"), {"image_size": [6, 6], "scale": 1 / 255}
    model.fit(X, Y, epochs=2, verbose=0)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model, path = trained(), tmp_path_factory.mktemp("saved") / "model.npz"
    model.save(path, progress={"epochs": 2})
    return model, path


def assert_same_weights(one, other):
    for name, array in one.named_weights().items():
        assert np.array_equal(array, other.named_weights()[name]), name


def test_everything_comes_back(saved):
    model, path = saved
    again = minicnn.load_model(path)
    assert_same_weights(model, again)
    assert again.get_config() == model.get_config()
    assert again.class_names == model.class_names and again.preprocessing == model.preprocessing
    assert type(again.optimizer) is optimizers.Adam and again.optimizer.get_config() == model.optimizer.get_config()
    assert again.loss.get_config() == model.loss.get_config() and again.metrics == ("accuracy",)
    assert again.step == model.step == 4
    for name, state in model.optimizer.state.items():
        assert np.array_equal(state, again.optimizer.state[name]) and np.any(state)
    assert np.array_equal(model.predict(X), again.predict(X))
    assert saving.read_description(path)["progress"] == {"epochs": 2}


def test_training_goes_on_as_if_nothing_had_happened(tmp_path):
    for optimizer in (optimizers.SGD(0.01, momentum=0.9, nesterov=True, global_clipnorm=1.0), optimizers.SGD(0.1)):
        model = trained(optimizer)
        model.save(tmp_path / "m.npz")
        again = minicnn.load_model(tmp_path / "m.npz")
        for one in (model, again):
            one.fit(X, Y, epochs=4, initial_epoch=2, verbose=0)
        assert_same_weights(model, again)


def test_other_losses_types_and_uncompiled_models(tmp_path):
    model = Sequential([layers.Dense(2, input_shape=(3,))], dtype="float64")
    model.save(tmp_path / "a.npz")
    again = minicnn.load_model(tmp_path / "a.npz", backend="reference")
    assert again.optimizer is None and again.dtype == "float64" and again.ops.name == "reference"
    assert_same_weights(model, again)
    model.compile("sgd", "mean_squared_error")
    model.save(tmp_path / "a.npz")
    assert minicnn.load_model(tmp_path / "a.npz").loss.name == "mean_squared_error"
    assert minicnn.load_model(tmp_path / "a.npz", compile=False).optimizer is None
    probabilities = zoo.cifar_cnn(softmax=True)
    probabilities.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=False))
    probabilities.save(tmp_path / "b.npz")
    assert minicnn.load_model(tmp_path / "b.npz").loss.from_logits is False


def test_numpy_alone_reads_the_file(saved):
    model, path = saved
    with np.load(path, allow_pickle=False) as file:
        description = json.loads(str(file["description"]))
        assert description["architecture"]["name"] == "everything"
        assert np.array_equal(file["weights/first/w"], model.layers[4].w)


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    model, path = saved
    model.save(tmp_path / "again.npz", progress={"epochs": 2})
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_weights_alone(saved, tmp_path):
    model, path = saved
    model.save_weights(tmp_path / "w.npz")
    for source in (tmp_path / "w.npz", path):
        other = every_layer()
        other.load_weights(source)
        assert_same_weights(model, other)
    with pytest.raises(ValueError, match=r"'minicnn weights'; build the model and call model\.load_weights"):
        minicnn.load_model(tmp_path / "w.npz")


def test_weights_of_another_model_change_nothing(saved):
    _, path = saved
    other = Sequential([layers.Input((6, 6, 1)), layers.Conv2D(3, 2, name="first"), layers.Flatten(), layers.Dense(3)])
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"not the weights of this model: it holds weights/batch_normalization/"):
        other.load_weights(path)
    other = every_layer()
    other.add(layers.Dense(3))
    with pytest.raises(ValueError, match="it lacks weights/dense_1/b"):
        other.load_weights(path)
    config = every_layer().get_config()
    config["layers"][4]["config"]["filters"] = 4
    other = Sequential.from_config(config)
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"weights/first/w: expected shape \(2, 3, 1, 4\)|declares"):
        other.load_weights(path)
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights()))


def test_what_cannot_be_written(saved, tmp_path):
    model, _ = saved
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.save(tmp_path / "nowhere" / "m.npz")
    (tmp_path / "m.npz").write_bytes(b"old")
    with pytest.raises(ValueError, match="plain values"):
        model.save(tmp_path / "m.npz", progress={"array": np.zeros(3)})
    assert (tmp_path / "m.npz").read_bytes() == b"old" and os.listdir(tmp_path) == ["m.npz"]
    with pytest.raises(ValueError, match="shape of the inputs is not known"):
        Sequential([layers.Flatten()]).save(tmp_path / "m.npz")


# ---- bad files -----------------------------------------------------------------------------------------------------


def rewrite(path, target, change=None, arrays=None):
    """A copy of a model file with a right checksum and another description, or other arrays."""
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    if change is not None:
        description = json.loads(str(content["description"]))
        replaced = change(description)
        content["description"] = np.array(json.dumps(description if replaced is None else replaced))
    for name, array in (arrays or {}).items():
        content.pop(name) if array is None else content.update({name: array})
    np.savez(target, **content)
    return target


def put(*keys):
    """A change of a description: the last argument goes to the place that the others name."""
    *keys, last, value = keys

    def change(description):
        for key in keys:
            description = description[key]
        description[last] = value
    return change


FIRST, DENSE = ("architecture", "layers", 4), ("architecture", "layers", 11)


@pytest.mark.parametrize("change, message", [
    (put("format", "keras"), "expected a file of format 'minicnn model', got 'keras'"),
    (put("format_version", 2), "newer MiniCNN"),
    (put("format_version", "1"), "damaged: its format version"),
    (lambda d: [1], "not a dict"),
    (lambda d: d.pop("architecture") and None, "no 'architecture'"),
    (lambda d: d.pop("step") and None, "no 'step'"),
    (put("step", -1), "step"),
    (put("step", 10**30), "step"),
    (put("class_names", "abc"), "class_names"),
    (put("class_names", [1]), "class_names"),
    (put("preprocessing", 3), "preprocessing"),
    (put("architecture", None), "not usable"),
    (put("architecture", "layers", {}), "not the weights of this model"),
    (put("architecture", "layers", [{}] * 10001), "10,001 layers"),
    (put("architecture", "layers", ["Dense"]), "not usable"),
    (put("architecture", "dtype", "float16"), "float32"),
    (put("architecture", "seed", -1), "seed"),
    (put("architecture", "input_shape", None), "no input shape"),
    (put("architecture", "input_shape", [6, 6]), "images"),
    (put("architecture", "input_shape", [6, 6, 1 << 60]), "expected shape|declares"),
    (put("architecture", "input_shape", "big"), "not usable"),
    (put(*FIRST, "class", "Conv3D"), "unknown layer class 'Conv3D'"),
    (put(*FIRST, "class", ["Conv2D"]), "not usable"),
    (put(*FIRST, "config", {"filters": 3}), "not usable"),
    (put(*FIRST, "config", "filters", 1 << 60), "expected shape|declares"),
    (put(*FIRST, "config", "filters", 10**400), "expected shape|declares|not usable"),
    (put(*FIRST, "config", "filters", -3), "filters"),
    (put(*FIRST, "config", "kernel_size", [1 << 40, 1 << 40]), "fit|expected shape|declares"),
    (put(*FIRST, "config", "surprise", 1), "surprise"),
    (put(*FIRST, "config", "name", None), "lacks|not usable"),
    (put(*DENSE, "config", "units", 1 << 50), "expected shape|declares"),
    (put(*DENSE, "config", "kernel_initializer", "magic"), "magic"),
    (put("training", []), "not usable"),
    (put("training", "optimizer", "class", "Magic"), "unknown optimizer 'Magic'; known are SGD, Adam"),
    (put("training", "optimizer", "class", "SGD"), "not usable|lacks"),
    (put("training", "optimizer", "config", "learning_rate", "fast"), "learning_rate"),
    (put("training", "optimizer", "config", "learning_rate", float("nan")), "learning_rate"),
    (put("training", "loss", "config", "from_logits", False), "does not end in a softmax"),
    (put("training", "loss", "config", None), "not usable"),
    (put("training", "metrics", ["f1"]), "f1"),
    (put("training", "metrics", "accuracy"), "metrics"),
])
def test_descriptions_that_make_no_sense(saved, tmp_path, change, message):
    path = rewrite(saved[1], tmp_path / "bad.npz", change)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"(?s)bad.npz: .*({message})"):
        minicnn.load_model(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("arrays, message", [
    ({"weights/first/w": None}, "it lacks weights/first/w"),
    ({"weights/other/w": np.zeros(1)}, "it holds weights/other/w, which the model has not"),
    ({"weights/first/w": np.zeros((2, 3, 1, 4), np.float32)}, "expected shape"),
    ({"weights/first/w": np.zeros((2, 3, 1, 3), np.int32)}, "of numbers, got|int32"),
    ({"weights/first/w": np.zeros((1 << 20,))}, "at most"),
    ({"optimizer/first_moment": None}, "it lacks optimizer/first_moment"),
    ({"optimizer/first_moment": np.zeros(3, np.float32)}, "expected shape"),
    ({"description": None}, "not a model of MiniCNN: it has no description"),
    ({"description": np.zeros(3)}, "not a text"),
    ({"description": np.array("{" * 100000)}, "not a model of MiniCNN"),
    ({"description": np.array("[" * 100000)}, "not a model of MiniCNN"),
    ({"description": np.array("9" * 100000)}, "not a model of MiniCNN"),
])
def test_arrays_that_do_not_fit(saved, tmp_path, arrays, message):
    path = rewrite(saved[1], tmp_path / "bad.npz", arrays=arrays)
    with pytest.raises(ValueError, match=f"bad.npz: .*({message})"):
        minicnn.load_model(path)


def test_foreign_files(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"Arrays in it: x\)"):
        minicnn.load_model(tmp_path / "a.npz")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match=r"b\.h5: not an \.npz file"):
        minicnn.load_model(tmp_path / "b.h5")
    with zipfile.ZipFile(tmp_path / "c.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="no description"):
        minicnn.load_model(tmp_path / "c.keras")
    with pytest.raises(FileNotFoundError):
        minicnn.load_model(tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError):
        minicnn.load_model(tmp_path)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files(saved, tmp_path, share):
    data = saved[1].read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[:int(len(data) * share)])
    with pytest.raises(ValueError, match="damaged"):
        minicnn.load_model(tmp_path / "cut.npz")


# ---- killed in the middle of a save ----------------------------------------------------------------------------------

SAVER = """
import sys
import minicnn
model = minicnn.load_model(sys.argv[1])
print("ready", flush=True)
while True:
    model.step += 1
    model.save(sys.argv[1])
"""


def kill_while_saving(path, kills, seed):
    rng, steps = np.random.default_rng(seed), [0]
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        try:
            process.wait(rng.uniform(0.001, 0.15))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        process.stdout.close()
        steps.append(minicnn.load_model(path).step)
    assert steps == sorted(steps) and steps[-1] > 0
    return steps


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_instants_the_last_good_file_is_whole(tmp_path, kills):
    model = zoo.mnist_cnn()
    model.compile("adam")
    model.save(tmp_path / "m.npz")
    kill_while_saving(tmp_path / "m.npz", kills, seed=kills)
    minicnn.load_model(tmp_path / "m.npz").predict(np.zeros((1, 28, 28, 1), np.float32))
