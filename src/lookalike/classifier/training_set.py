"""What the estimator is given beside vectors: labels, weights, and which rows take part. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lookalike.classifier.graph.search import Ids, ReferenceArrays
from lookalike.errors import BadInput, BadVector
from lookalike.labels import NO_LABEL

Vectors = NDArray[np.float16]
Codes = NDArray[np.int32]
Weights = NDArray[np.float64]
Mask = NDArray[np.bool_]

NOWHERE = -1
"""The node of a row that takes no part."""

AUTO = "auto"
"""The `missing_label` that depends on the labels."""

_BOTH_ARE_CLASSES = (
    "all labels in y are -1 or 1: both are taken as classes. If -1 means that a row has no label, "
    "set missing_label=-1; missing_label=None means two classes, too, without this warning"
)
_WEIGHT_BITS = 13


class BadArgument(BadInput, ValueError):
    """An argument cannot be used; also a ValueError, because scikit-learn's callers expect one."""


class BadRow(BadVector, ValueError):
    """All rows of a label are zeros; also a ValueError, for the same reason."""


# --- labels --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """Labels of n rows: `values` (n,), numbers or objects, of the rows that are `known` (n,).

    `missing` stands for no label.
    """

    values: NDArray[Any]
    known: Mask
    missing: object

    @classmethod
    def of(
        cls, given: NDArray[Any], missing: object, classes: ArrayLike | None = None
    ) -> LabelColumn:
        """Return the labels in an array: what is not `missing`, None, NaN or NA.

        `classes`, if given, tell whether −1 is one of them.
        """
        values, known = _parted(given)
        if isinstance(missing, str) and missing == AUTO:
            missing = _missing_label(given, values, known, classes)
        known &= np.array([label != missing for label in values.tolist()], bool)
        return cls(values, known, missing)

    @property
    def are_numbers(self) -> bool:
        """Return whether the labels are numbers."""
        return self.values.dtype.kind != "O"

    def like(self, earlier: LabelColumn) -> LabelColumn:
        """Return these labels with the type of earlier ones."""
        if self.are_numbers == earlier.are_numbers:
            return self
        if self.known.any():
            raise BadArgument("labels were numbers and now are not, or the other way round")
        return replace(self, values=np.zeros(len(self.known), earlier.values.dtype))

    def over(self, earlier: LabelColumn) -> LabelColumn:
        """Return these labels of the same rows, and the earlier ones where there is none here."""
        values = np.where(self.known, self.values, earlier.values)
        return replace(self, values=values, known=self.known | earlier.known)

    def after(self, earlier: LabelColumn) -> LabelColumn:
        """Return the earlier labels, then these, of more rows."""
        values = np.concatenate([earlier.values, self.values])
        return replace(self, values=values, known=np.append(earlier.known, self.known))

    def some(self) -> NDArray[Any]:
        """Return the known labels alone, as an array of their own type."""
        labels = self.values[self.known]
        return labels if self.are_numbers else np.array(labels.tolist())

    def coded(self, part: Mask) -> tuple[NDArray[Any], Codes]:
        """Return the classes of the known rows in `part` (n,), sorted, and the code of each row.

        Other rows have the code NO_LABEL.
        """
        named = self.known & part
        if not named.any():
            raise BadArgument("y names no class: give at least one label")
        codes = np.full(len(named), NO_LABEL, np.int32)
        try:
            classes, codes[named] = np.unique(self.values[named], return_inverse=True)
        except TypeError as error:
            raise BadArgument(
                "labels of different types cannot be sorted: give one type"
            ) from error
        return classes if self.are_numbers else np.array(classes.tolist()), codes

    def refuse_others(self, classes: ArrayLike) -> None:
        """Refuse labels that are not among `classes`."""
        allowed = set(np.asarray(classes).tolist())
        for label in self.values[self.known].tolist():
            if label not in allowed:
                raise BadArgument(f"{label!r} is not among the classes that were given")


def as_array(y: ArrayLike | Sequence[object]) -> NDArray[Any]:
    """Return labels as an array; pandas' nullable types as objects, or integers become floats."""
    nullable = hasattr(y, "dtype") and not isinstance(y.dtype, np.dtype)
    return np.asarray(y, object if nullable else None)


def _parted(given: NDArray[Any]) -> tuple[NDArray[Any], Mask]:
    """Return labels, as numbers if all are, and which of them are not None, NaN or NA."""
    if given.dtype.kind in "iuf":
        return given, ~np.isnan(given)
    values = given.astype(object)
    known = np.array([_is_itself(label) for label in values.tolist()], bool)
    values[~known] = None
    labels = values[known].tolist()
    if not labels or not all(is_number(label) for label in labels):
        return values, known
    numbers = np.array(labels)
    values = np.zeros(len(given), numbers.dtype)
    values[known] = numbers
    return values, known


def _is_itself(label: object) -> bool:
    """Return False for None, NaN and pandas' NA, which mean that there is no label."""
    same = label is not None and label == label
    return isinstance(same, bool | np.bool_) and bool(same)


def is_number(label: object) -> bool:
    """Return whether a label is a number; a bool is none."""
    return isinstance(label, int | float | np.number) and not isinstance(label, bool)


def _missing_label(
    given: NDArray[Any], values: NDArray[Any], known: Mask, classes: ArrayLike | None
) -> object:
    """Return what stands for no label by default: −1 in numbers, if nothing else does.

    If all labels are −1 or 1, as scikit-learn writes two classes, −1 is a class.
    """
    if values.dtype.kind == "O":
        return None
    if not known.all():
        return np.nan if given.dtype.kind == "f" else None
    if classes is not None:
        return None if -1 in np.asarray(classes).tolist() else -1
    if set(np.unique(values).tolist()) == {-1, 1}:
        warnings.warn(_BOTH_ARE_CLASSES, UserWarning, stacklevel=5)
        return None
    return -1


# --- weights -------------------------------------------------------------------------------------


def checked_weights(given: Weights, known: Mask) -> Weights:
    """Return weights (n,), of which those of rows without a `known` label (n,) are 0 or 1."""
    if given.shape != known.shape:
        raise BadArgument(
            f"sample_weight has the shape {given.shape}: give one number for each row of X"
        )
    if (given < 0).any():
        row = (given < 0).argmax()
        raise BadArgument(f"sample_weight of row {row} is {given[row]:g}: give 0 or more")
    useless = ~known & (given != 0) & (given != 1)
    if useless.any():
        row = useless.argmax()
        raise BadArgument(
            f"row {row} has no label, so its sample_weight {given[row]:g} means nothing: a weight "
            "is that of a label as evidence. Give 1, or 0 to leave the row out"
        )
    if known.any() and not given[known].any():
        raise BadArgument("sample_weight is zero for every row with a label: give one of them more")
    return given


# --- rows that take part -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nodes:
    """The rows that take part: sorted `places` (m,) among n rows, and the node `of_row` (n,).

    Labelled rows of the same direction and label are one node, at the place of the first. Copies
    would fill each other's neighbour lists, and leave-one-out would find them. Rows of zeros, which
    have no direction, and rows of weight 0 take no part. `weights` (m,) are the sums over copies, 1
    if unlabelled.
    """

    places: Ids
    of_row: Ids
    weights: Weights
    is_reference: Mask

    @classmethod
    def of(cls, rows: Vectors, codes: Codes, weights: Weights) -> Nodes:
        """Return the nodes of rows with label codes and weights (n,)."""
        part = (weights > 0) & rows.any(axis=1)
        labelled = np.flatnonzero(part & (codes != NO_LABEL))
        first, group = _copies(rows[labelled], codes[labelled])
        original = np.arange(len(rows))
        original[labelled] = labelled[first[group]]
        places = np.flatnonzero(part & (original == np.arange(len(rows))))
        of_row = np.full(len(rows), NOWHERE)
        of_row[places] = np.arange(len(places))
        of_row[labelled] = of_row[original[labelled]]
        total = np.ones(len(places))
        total[of_row[labelled[first]]] = np.bincount(group, weights[labelled])
        return cls(places, of_row, total, codes[places] != NO_LABEL)

    @property
    def whole_weights(self) -> Ids | None:
        """Return whole numbers (m,) in the ratio of the weights; None if all references are equal.

        The largest is between 2¹² and 2¹³, and none is below 1. Scaling by a power of two keeps the
        ratio of whole weights exact.
        """
        some = self.weights[self.is_reference]
        if len(some) == 0 or some.min() == some.max():
            return None
        scale = _WEIGHT_BITS - int(np.frexp(some.max())[1])
        return np.maximum(np.rint(np.ldexp(self.weights, scale)), 1).astype(np.int64)

    def references(self, rows: Vectors, codes: Codes) -> ReferenceArrays:
        """Return the labelled nodes as references; their pks are the numbers of the nodes."""
        found, whole = np.flatnonzero(self.is_reference), self.whole_weights
        places = self.places[found]
        weights = None if whole is None else whole[found].astype(np.float32)
        return ReferenceArrays(found, codes[places], rows[places], weights)

    def refuse_zeros(self, codes: Codes, classes: NDArray[Any]) -> None:
        """Refuse a class of which all rows are zeros."""
        directed = np.isin(np.arange(len(classes)), codes[self.places])
        if not directed.all():
            code = int(directed.argmin())
            raise BadRow(
                f"row {(codes == code).argmax()} of X is all zeros, like each row with the label "
                f"{classes.tolist()[code]!r}: they have no direction; leave this label out"
            )


def _copies(rows: Vectors, codes: Codes) -> tuple[Ids, Ids]:
    """Return the first row of each group of copies with one label, and the group of each row."""
    bits = (rows + np.float16(0)).view(np.int16).astype(np.int32)  # adding 0 makes −0 a 0
    keys = np.concatenate([bits, codes[:, None]], axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first, group.reshape(len(rows))
