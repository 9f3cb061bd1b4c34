"""Short texts of four topics, for tests of what the names of labels suggest."""

TOPICS = {
    "cooking": ("bake the bread in a hot oven", "stir the soup with a wooden spoon"),
    "weather": ("heavy rain and wind tonight", "a sunny morning with light clouds"),
    "football": ("the striker scored a late goal", "the keeper saved a penalty kick"),
    "money": ("transfer cash to a bank account", "the interest rate of a loan went up"),
}
WAYS = ("{}", "today: {}", "{}, they said", "I heard: {}", "{}, as always", "once more, {}")


def rows() -> list[dict[str, str]]:
    """Twelve texts of each topic; the id begins with it."""
    texts = [(topic, text, way) for topic, some in TOPICS.items() for text in some for way in WAYS]
    return [
        {"id": f"{topic}-{place}", "text": way.format(text)}
        for place, (topic, text, way) in enumerate(texts)
    ]


def topic_of(id: str) -> str:
    """The true label of a document."""
    return id.partition("-")[0]
