"""Validation of a part of a document with a model, with messages that never quote the file."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from exporter.config.yaml_document import Document, Place
from exporter.did_you_mean import did_you_mean

ModelT = TypeVar("ModelT", bound=BaseModel)

_PLAIN_WORDS: Final = {
    "finite_number": "must be a number",
    "missing": "is required",
    "string_type": "must be a text",
    "string_unicode": "must be a text without control characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "path_type": "must be the name of a file",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "value_error": "{error}",
}


def words(detail: Any, known: Iterable[str]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """The message for a validation error, without pydantic's own text, which may quote the file."""
    if detail["type"] == "extra_forbidden":
        return f"unknown key{did_you_mean(str(detail['loc'][-1]), known)}"
    words = _PLAIN_WORDS.get(detail["type"], "is not of the right kind")
    return words.format(**detail.get("ctx", {}))


def validated(
    document: Document,
    model: type[ModelT],
    data: object,
    place: Place,
    *,
    others: Iterable[str] = (),
    folder: Path | None = None,
) -> tuple[ModelT | None, set[str | int]]:
    """The data as a model, or None and the invalid keys. Mistakes are recorded in the document.

    Args:
        document: The document to which the data belongs.
        model: The model to validate against.
        data: A part of the document.
        place: The place of the data in the document.
        others: Keys that are known in addition to the model's.
        folder: The folder of relative file names in the data.
    """
    try:
        return model.model_validate(data, context=folder), set()
    except ValidationError as error:
        known = (*model.model_fields, *others)
        details = error.errors(include_url=False, include_input=False)
        for detail in details:
            document.wrong((*place, *detail["loc"]), partial(words, detail, known))
        return None, {detail["loc"][0] for detail in details if detail["loc"]}
