"""CIFAR-100's twenty superclasses of five classes (Krizhevsky 2009), and the groups of them that
the small zoo learns.
"""

from __future__ import annotations

SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}

GROUPS: dict[str, tuple[str, ...]] = {
    "animals": (
        "aquatic mammals",
        "fish",
        "insects",
        "large carnivores",
        "large omnivores and herbivores",
        "medium-sized mammals",
        "non-insect invertebrates",
        "reptiles",
        "small mammals",
    ),
    "mammals": (
        "aquatic mammals",
        "large carnivores",
        "large omnivores and herbivores",
        "medium-sized mammals",
        "small mammals",
    ),
    "household": ("food containers", "household electrical devices", "household furniture"),
    "people and scenes": (
        "large man-made outdoor things",
        "large natural outdoor scenes",
        "people",
    ),
    "plants": ("flowers", "fruit and vegetables", "trees"),
    "vehicles": ("vehicles 1", "vehicles 2"),
}


def classes_of(group: str) -> tuple[str, ...]:
    """The classes of all superclasses in ``group``, by name."""
    return tuple(sorted(name for superclass in GROUPS[group] for name in SUPERCLASSES[superclass]))
