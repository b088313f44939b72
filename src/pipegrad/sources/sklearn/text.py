"""Text, dictionaries and images: the source reads them, and the weights of terms train."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer as _CountVectorizer
from torch import nn

from ...glue import Glue
from ...graph import join
from ...modules import TermWeights
from ...registry import Builder, Example, Expansion, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, validate
from ._host import OnHost

_TEXT = "it reads text, which has no gradient"
_DICTS = "it reads dictionaries or names, which have no gradient"


def words_of(text: str) -> list[str]:
    """Split a text at spaces, as an analyzer of the user's own does."""
    return text.lower().split()


@register("sklearn.feature_extraction.text.CountVectorizer")
class CountVectorizer(OnHost):
    """Counts of terms, on the host; sparse."""

    data = "texts"
    on_host = _TEXT
    examples = (
        {},
        {"ngram_range": (1, 2), "min_df": 2, "max_df": 0.9, "lowercase": False},
        {"analyzer": "char", "ngram_range": (2, 3), "max_features": 20, "strip_accents": "unicode"},
        {"analyzer": "char_wb", "ngram_range": (3, 3), "dtype": np.float32},
        {"analyzer": words_of},
        {"tokenizer": words_of, "preprocessor": str.upper, "token_pattern": None},
        {"vocabulary": ["red", "bus", "boat"], "binary": True},
        {"stop_words": ["the", "by"], "token_pattern": r"\w+", "strip_accents": "ascii"},
        {"stop_words": "english", "dtype": np.float64},
    )


@register("sklearn.feature_extraction.text.HashingVectorizer")
class HashingVectorizer(OnHost):
    """Hashed counts of terms, on the host; sparse."""

    not_exported = "exported files have no operation for hashes of words"
    data = "texts"
    on_host = _TEXT
    always_fitted = True
    examples = (
        {"n_features": 64},
        {"n_features": 32, "norm": "l1", "alternate_sign": False, "ngram_range": (1, 2)},
        {"n_features": 16, "norm": None, "binary": True, "analyzer": "char_wb"},
        {"n_features": 32, "stop_words": "english", "dtype": np.float32},
        {"n_features": 32, "tokenizer": words_of, "token_pattern": None, "strip_accents": "ascii"},
        {"n_features": 32, "analyzer": words_of},
    )


@register("sklearn.feature_extraction.DictVectorizer")
class DictVectorizer(OnHost):
    """One column for each number and for each value of a name, on the host."""

    not_exported = "an exported file takes columns, not dictionaries"
    data = "dictionaries"
    on_host = _DICTS
    examples = (
        {},
        {"sparse": False},
        {"dtype": np.float32, "separator": ":", "sort": False},
        {"sparse": False, "dtype": np.int64},
    )


@register("sklearn.feature_extraction.FeatureHasher")
class FeatureHasher(OnHost):
    """Hashed columns of names with numbers, on the host; sparse."""

    not_exported = "exported files have no operation for hashes of names"
    data = "dictionaries"
    on_host = _DICTS
    always_fitted = True
    examples = (
        {"n_features": 16},
        {"n_features": 16, "alternate_sign": False, "dtype": np.float32},
        Example({"n_features": 16, "input_type": "pair"}, data="pairs"),
        Example({"n_features": 16, "input_type": "string"}, data="names"),
    )


@register("sklearn.feature_extraction.image.PatchExtractor")
class PatchExtractor(OnHost):
    """Patches of images, on the host: more rows than it is given."""

    not_exported = "it gives more rows than it is given"
    data = "images"
    on_host = "it cuts images into patches, which are more rows than it is given"
    always_fitted = True
    examples = (
        {"patch_size": (2, 3)},
        {"patch_size": (2, 2), "max_patches": 3, "random_state": 0},
        {"patch_size": (3, 3), "max_patches": 0.4, "random_state": 0},
        Example({"patch_size": (2, 2)}, data="color_images"),
    )


@register("sklearn.feature_extraction.text.TfidfTransformer")
class TfidfTransformer(SklearnTranslation):
    """idf_ is trainable; sparse input stays sparse, and dense input becomes sparse."""

    data = "sparse"
    sparse = True
    examples: ClassVar[Any] = (
        {},
        {"norm": "l1", "smooth_idf": False},
        {"norm": None, "sublinear_tf": True},
        {"use_idf": False, "sublinear_tf": True},
        {"use_idf": False, "norm": None},
        {"sublinear_tf": True, "smooth_idf": False},
        Example({"sublinear_tf": True}, data="word_counts"),
        Example({"norm": "l1"}, data="word_counts"),
    )

    def encode(self, operator: Any, X: Any) -> Any:
        return sparse.csr_matrix(validate(operator, X, sparse=True))

    def to_torch(self, operator: Any) -> nn.Module:
        weights = getattr(operator, "idf_", None)
        return TermWeights(
            None if weights is None else to_tensor(weights), operator.norm, operator.sublinear_tf
        )

    def write_back(self, module: TermWeights, operator: Any) -> None:
        if module.weights is not None:
            operator.idf_ = to_array(module.present_weights(), operator.idf_)


@dataclass(eq=False)
class Counts(Glue):
    """The counts of terms from which a vectorizer with weights starts.

    Parameters
    ----------
    owner : object
        The fitted `TfidfVectorizer`.
    """

    owner: Any

    def run(self, *values: Any) -> Any:
        """Count the terms of some documents."""
        return _CountVectorizer.transform(copy.copy(self.owner), *values)


@register("pipegrad.sources.sklearn.text.Counts")
class CountsOfTerms(OnHost):
    """Counts of terms, on the host; sparse."""

    on_host = _TEXT
    examples = ()

    def encode(self, operator: Counts, X: Any) -> Any:
        return operator.run(X)


@register("sklearn.feature_extraction.text.TfidfVectorizer")
class TfidfVectorizer(Expansion):
    """Terms are counted on the host, and the weights of the terms, idf_, are trainable."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        kind = "sklearn.feature_extraction.text.CountVectorizer"
        counts = builder.add(join(path, "counts"), Counts(operator), (source,), kind=kind)
        return builder.expand(operator._tfidf, counts, join(path, "tfidf"))
