"""Document 1's network with a better recipe, in MiniCNN and in PyTorch: do both learn equally well?

    MINICNN_DATA_DIR=... python -m tests.minicnn.cifar_recipe [--seeds 3] [--epochs 20]

Adam, random 24x24 crops, mirrored pictures, dropout before both dense layers, a cosine schedule; on as much of CIFAR-10
as the data folder holds. The two draw their random numbers differently, so single runs differ; their means should not.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time

import numpy as np

from minicnn import callbacks, datasets, layers, models, optimizers

BATCH, RATE, CROP, MARGIN = 32, 0.001, 24, 8


def in_minicnn(data, seed, epochs):
    """Test accuracy."""
    model = models.Sequential([
        layers.Input((32, 32, 3)),
        layers.RandomFlip("horizontal"),
        layers.RandomCrop(CROP, CROP),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(10),
    ], seed=seed)
    model.compile(optimizers.Adam(RATE), metrics=["accuracy"])
    steps = -(-len(data.x_train) // BATCH)
    schedule = callbacks.LearningRateScheduler(callbacks.cosine_decay(RATE, epochs * steps), unit="step")
    model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[schedule])
    return model.evaluate(data.x_test, data.y_test)[1]


def in_pytorch(data, seed, epochs):
    """Test accuracy."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * 6 * 6, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    ).to(memory_format=torch.channels_last)
    for layer in net:
        if hasattr(layer, "weight"):  # Keras' initial weights, which are MiniCNN's
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, eps=1e-7)
    images, labels = torch.from_numpy(data.x_train.transpose(0, 3, 1, 2).copy()), torch.from_numpy(data.y_train)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(images) // BATCH))

    def changed(x):
        mirrored = torch.rand(len(x), generator=random) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        corners = torch.randint(0, MARGIN + 1, (len(x), 2), generator=random)
        return torch.stack([image[:, i:i + CROP, j:j + CROP] for image, (i, j) in zip(x, corners.tolist())])

    net.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=random).split(BATCH):
            x = changed(images[rows]).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    net.eval()
    middle = slice(MARGIN // 2, MARGIN // 2 + CROP)
    with torch.no_grad():
        logits = net(torch.from_numpy(data.x_test[:, middle, middle].transpose(0, 3, 1, 2).copy()))
    return float(np.mean(logits.argmax(1).numpy() == data.y_test))


def main():
    """Train with every seed and print accuracies, means and standard deviations."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--only", choices=["minicnn", "pytorch"])
    options = parser.parse_args()
    data = datasets.load("cifar10")
    print(f"{len(data.x_train):,} training and {len(data.x_test):,} test images")
    contestants = {"minicnn": in_minicnn}
    if importlib.util.find_spec("torch") is not None:
        contestants["pytorch"] = in_pytorch
    for name, train in contestants.items():
        if options.only not in (None, name):
            continue
        found = []
        for seed in range(options.seeds):
            started = time.perf_counter()
            found.append(train(data, seed, options.epochs))
            print(f"{name}, seed {seed}: {found[-1]:.2%} in {time.perf_counter() - started:.0f} s", flush=True)
        deviation = statistics.stdev(found) if len(found) > 1 else 0.0
        print(f"{name}: mean {statistics.mean(found):.2%}, standard deviation {deviation:.2%}")


if __name__ == "__main__":
    main()
