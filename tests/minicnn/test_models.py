"""Sequential: building, the two passes, weights, and errors that show the shapes."""

import numpy as np
import pytest

import minicnn
from minicnn import layers, losses, models, optimizers, zoo
from minicnn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D


def small_model(**options):
    return models.Sequential([Conv2D(3, 3, activation="relu", input_shape=(6, 6, 1)), MaxPooling2D(2), Flatten(),
                              Dense(4)], **options)


def small_data(count=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, 6, 6, 1), dtype=np.float32), rng.integers(0, 4, count)


# ---- building ------------------------------------------------------------------------------------------------


def test_parameters_and_gradients_are_views_into_one_flat_vector_each():
    model = small_model()
    model.build()
    assert model.parameters.shape == model.gradients.shape == (3 * 9 + 3 + 12 * 4 + 4,)
    for layer in model.layers:
        for name, array in layer.parameters.items():
            assert array.base is not None and np.shares_memory(array, model.parameters)
            assert array is getattr(layer, name)
            assert np.shares_memory(layer.gradients[name], model.gradients)
    model.parameters[:] = np.arange(model.parameters.size)
    np.testing.assert_array_equal(model.layers[0].w.reshape(-1), np.arange(27))
    np.testing.assert_array_equal(model.layers[3].b, np.arange(78, 82))


def test_the_four_steps_by_hand_are_what_fit_does():
    x, y = small_data(20)
    by_hand, by_fit = small_model(seed=5), small_model(seed=5)
    loss_fn = losses.SparseCategoricalCrossentropy(from_logits=True)
    by_fit.compile(optimizers.SGD(0.1, momentum=0.9), losses.SparseCategoricalCrossentropy(from_logits=True))
    by_hand.build()
    optimizer = optimizers.SGD(0.1, momentum=0.9)
    optimizer.bind(by_hand)
    by_fit.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for _ in range(2):
        for start in range(0, 20, 8):  # 8, 8, and the smaller rest of 4
            logits = by_hand.forward(x[start:start + 8], training=True)
            _, dlogits = loss_fn(logits, y[start:start + 8])
            by_hand.backward(dlogits)
            optimizer.step()
    assert by_hand.step == by_fit.step == 6
    np.testing.assert_array_equal(by_hand.parameters, by_fit.parameters)


def test_first_layer_never_computes_the_gradient_of_its_input():
    model = models.Sequential([Input((4, 4, 1)), Flatten(), Dense(3), Dense(2)], dtype="float64")
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1))
    y = model.forward(x)
    assert model.backward(np.ones_like(y)) is None
    assert [layer.input_gradient for layer in model.layers] == [True, False, True]
    dx = model.backward(np.ones_like(y), input_gradient=True)
    assert dx.shape == x.shape
    assert model.layers[1].input_gradient is False
    np.testing.assert_allclose(dx.reshape(2, -1), np.tile((model.layers[1].w @ model.layers[2].w).sum(axis=1), (2, 1)))


def test_adding_to_a_built_model_keeps_its_weights():
    model = models.Sequential([Input((5,)), Dense(4)])
    model.build()
    model.layers[0].w[...] = 7
    model.add(Dense(3))
    assert not model.built
    model.build()
    assert (model.layers[0].w == 7).all() and model.parameters.size == 24 + 15


def test_summary_counts_parameters_and_multiply_adds(capsys):
    model = zoo.mnist_cnn()
    model.summary()
    text = capsys.readouterr().out
    # document 2's network; the parameter counts are those that Keras prints for it
    for figure in ("320", "18,496", "36,928", "650", "93,322"):
        assert figure in text
    conv = 26 * 26 * 32 * 9 + 11 * 11 * 64 * 9 * 32 + 3 * 3 * 64 * 9 * 64
    assert f"{conv + 576 * 64 + 640:,}" in text
    assert "(26, 26, 32)" in text


def test_get_and_set_weights():
    x, _ = small_data(3)
    a, b = small_model(seed=1), small_model(seed=2)
    assert (a.predict(x) != b.predict(x)).any()
    b.set_weights(a.get_weights())
    np.testing.assert_array_equal(a.predict(x), b.predict(x))
    before = b.parameters.copy()
    with pytest.raises(ValueError, match="expected 4 arrays"):
        b.set_weights(a.get_weights()[:-1])
    bad = a.get_weights()
    bad[2] = bad[2].T
    with pytest.raises(ValueError, match="dense/w"):
        b.set_weights(bad)
    np.testing.assert_array_equal(b.parameters, before)


def test_model_is_made_again_from_its_config():
    model = zoo.cifar_cnn(12)
    again = models.Sequential.from_config(model.get_config())
    again.build()
    model.build()
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again.parameters, model.parameters)


def test_integers_and_float64_are_cast_to_the_models_type():
    model = small_model()
    x = np.random.default_rng(0).integers(0, 2, (3, 6, 6, 1))
    expected = model.predict(x.astype(np.float32))
    assert expected.dtype == np.float32
    for dtype in (np.uint8, np.int64, np.float64, bool):
        np.testing.assert_array_equal(model.predict(x.astype(dtype)), expected)


def test_forward_leaves_its_input_alone():
    model = small_model()
    x, _ = small_data(4)
    before = x.copy()
    y = model.forward(x, training=True)
    kept = y.copy()
    model.backward(np.ones_like(y))
    model.forward(x[::-1], training=True)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y, kept)


# ---- errors that show the shapes -----------------------------------------------------------------------------


def test_documents_flatten_mistake_is_explained():
    """Document 1 hands 64 * 6 * 6 numbers to its dense layer; CIFAR-10's 32x32 images make 64 * 8 * 8."""
    model = models.Sequential([
        Input((32, 32, 3)), Conv2D(32, 3, padding="same", activation="relu"), MaxPooling2D(2),
        Conv2D(64, 3, padding="same", activation="relu"), MaxPooling2D(2), Flatten(),
        Dense(128, activation="relu", input_shape=(64 * 6 * 6,)), Dense(10)])
    with pytest.raises(ValueError) as caught:
        model.build()
    text = str(caught.value)
    for part in ("'dense'", "(2304,)", "(4096,)", "(8, 8, 64)", "max_pooling2d_1", "24x24", "input_shape=(4096,)"):
        assert part in text
    assert not model.built


def test_window_larger_than_the_image():
    model = models.Sequential([Input((8, 8, 1)), MaxPooling2D(2), MaxPooling2D(2), Conv2D(4, 3)])
    with pytest.raises(ValueError, match="3x3, which is larger than its input of 2x2 pixels") as caught:
        model.build()
    assert "conv2d" in str(caught.value) and "(4, 4, 1)" in str(caught.value)


@pytest.mark.parametrize(("stack", "message"), [
    ([Input((8, 8, 1)), Dense(3)], "Flatten"),
    ([Input((8, 8)), Conv2D(3, 3)], "channel axis"),
    ([Input((8,)), MaxPooling2D(2)], "height, width, channels"),
])
def test_layers_that_do_not_follow_each_other(stack, message):
    with pytest.raises(ValueError, match=message):
        models.Sequential(stack).build()


@pytest.mark.parametrize(("shape", "hint"), [
    ((2, 28, 28), r"x\[..., None\]"), ((28, 28, 1), r"x\[None\]"), ((2, 1, 28, 28), "transpose"),
    ((2, 784), "reshape"), ((2, 32, 32, 1), "crop or resize"), ((2, 28, 28, 3), "expected shape"),
])
def test_batches_of_another_shape_get_a_hint(shape, hint):
    model = zoo.mnist_cnn()
    model.build()
    with pytest.raises(ValueError, match=hint):
        model.forward(np.zeros(shape, np.float32))


def test_bad_models():
    with pytest.raises(ValueError, match="no layers"):
        models.Sequential().build()
    with pytest.raises(ValueError, match="shape of the inputs is not known"):
        models.Sequential([Dense(3)]).summary()
    with pytest.raises(TypeError, match=r"Dense\(\.\.\.\)"):
        models.Sequential([Dense])
    with pytest.raises(TypeError, match="expected a layer"):
        models.Sequential(["dense"])
    layer = Dense(3, input_shape=(2,))
    models.Sequential([layer]).build()
    with pytest.raises(ValueError, match="part of a model already"):
        models.Sequential([layer])
    with pytest.raises(ValueError, match="named 'd' already"):
        models.Sequential([Dense(3, name="d", input_shape=(2,)), Dense(3, name="d")])
    with pytest.raises(ValueError, match="Input can only be"):
        models.Sequential([Dense(3, input_shape=(2,)), Input((2,))])
    with pytest.raises(ValueError, match="dtype"):
        models.Sequential(dtype="float16")
    with pytest.raises(ValueError, match="seed"):
        models.Sequential(seed=-1)
    with pytest.raises(ValueError, match="reference, im2col"):
        models.Sequential(backend="torch")


def test_backward_needs_a_forward_and_its_shape():
    model = small_model()
    model.build()
    with pytest.raises(RuntimeError, match="forward first"):
        model.backward(np.zeros((1, 4)))
    model.forward(np.zeros((2, 6, 6, 1)))
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        model.backward(np.zeros((3, 4)))
    model.build()
    with pytest.raises(RuntimeError, match="forward first"):
        model.backward(np.zeros((2, 4)))
    model.forward(np.zeros((2, 6, 6, 1)))
    model.add(Dense(4))
    with pytest.raises(RuntimeError, match="forward first"):
        model.backward(np.zeros((2, 4)))


# ---- compile --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [lambda: [Dense(10, activation="softmax")],
                                    lambda: [Dense(10), layers.Activation("softmax")]])
def test_double_softmax_is_explained_with_both_ways_out(ending):
    model = models.Sequential([Input((5,)), *ending()])
    with pytest.raises(ValueError) as caught:
        model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    text = str(caught.value)
    for part in ("softmax twice", "take the softmax off", "from_logits=False"):
        assert part.lower() in text.lower()
    assert model.optimizer is None
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=False))


def test_probabilities_loss_refuses_logits():
    with pytest.raises(ValueError, match="does not end in a softmax"):
        small_model().compile("adam", losses.SparseCategoricalCrossentropy(from_logits=False))


def test_logits_and_probabilities_train_alike():
    """The documents' TensorFlow network, with its softmax and the loss that belongs to it, trains like the bare one."""
    x = np.random.default_rng(0).random((6, 8, 8, 3))
    y = np.arange(6) % 10
    results = []
    for softmax in (False, True):
        model = zoo.cifar_cnn(8, softmax=softmax, dtype="float64")
        model.compile(optimizers.SGD(0.05, momentum=0.9), losses.SparseCategoricalCrossentropy(not softmax))
        for _ in range(3):
            model.train_on_batch(x, y)
        results.append(model.parameters)
    np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)


def test_bad_compile_arguments():
    model = small_model()
    for arguments, message in [(("rmsprop",), "sgd, adam"), (("adam", "hinge"), "mean_squared_error"),
                               (("adam", "mean_squared_error", ["accuracy"]), "class labels")]:
        with pytest.raises(ValueError, match=message):
            model.compile(*arguments)
    with pytest.raises(ValueError, match="'accuracy'"):
        model.compile(metrics=["recall"])
    optimizer = optimizers.Adam()
    small_model().compile(optimizer)
    with pytest.raises(ValueError, match="another model"):
        model.compile(optimizer)
    with pytest.raises(RuntimeError, match="compile"):
        small_model().fit(*small_data())
    with pytest.raises(RuntimeError, match="belongs to no model"):
        optimizers.SGD().step()


def test_loss_of_an_image_output_is_refused():
    model = models.Sequential([Conv2D(4, 3, input_shape=(6, 6, 1))])
    with pytest.raises(ValueError, match="Flatten"):
        model.compile("sgd")


def test_compile_before_the_shape_is_known():
    model = models.Sequential([Dense(4)])
    model.compile("sgd")
    x, y = np.zeros((3, 2), np.float32), np.array([0, 1, 3])
    model.fit(x, y, verbose=0)
    assert model.input_shape == (2,) and model.step == 1


def test_recompiling_starts_the_optimizer_anew():
    model = small_model()
    model.compile("adam")
    model.fit(*small_data(), verbose=0)
    assert model.step and model.optimizer.state["first_moment"].any()
    model.compile("adam")
    assert model.step == 0 and not model.optimizer.state["first_moment"].any()


def test_mean_squared_error_fits_a_line():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    targets = x @ np.array([[1.0, -2.0], [0.5, 3.0]]) + np.array([0.25, -1.0])
    model = models.Sequential([Dense(2, input_shape=(2,))], dtype="float64")
    model.compile(optimizers.SGD(0.2), "mean_squared_error")
    model.fit(x, targets, epochs=200, batch_size=64, verbose=0)
    np.testing.assert_allclose(model.layers[0].w, [[1.0, -2.0], [0.5, 3.0]], atol=1e-6)
    np.testing.assert_allclose(model.layers[0].b, [0.25, -1.0], atol=1e-6)
    with pytest.raises(ValueError, match="like the model's output"):
        model.fit(x, targets[:, :1])


def test_weight_decay_and_clipping_reach_the_kernels():
    model = small_model()
    model.compile(optimizers.SGD(0.1, weight_decay=0.5))
    before = model.parameters.copy()
    model.optimizer.step()  # the gradients are still zero: only the decay acts
    np.testing.assert_allclose(model.parameters, before * 0.95, rtol=1e-6)
    model.compile(optimizers.SGD(1.0, global_clipnorm=2.0))
    model.gradients[:] = 5.0
    before = model.parameters.copy()
    model.optimizer.step()
    assert np.linalg.norm(model.parameters - before) == pytest.approx(2.0, rel=1e-5)


def test_learning_rate_can_be_set_between_steps():
    optimizer = optimizers.SGD(0.1)
    optimizer.learning_rate = 0.01
    assert optimizer.learning_rate == 0.01
    with pytest.raises(ValueError, match="learning_rate"):
        optimizer.learning_rate = -1


def test_public_names():
    for name in ("Sequential", "Input", "History"):
        assert getattr(minicnn, name) is not None
    with pytest.raises(AttributeError):
        minicnn.Sequentail  # noqa: B018
    assert minicnn.Sequential is models.Sequential
