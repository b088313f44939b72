"""The inference methods of estimators, for objects that pass them on to an estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if


def source_has(method: str) -> Callable[[SourceMethods], bool]:
    """A condition for `available_if`: whether the estimator has the method."""

    def check(self: SourceMethods) -> bool:
        return self._offers(method)

    return check


class SourceMethods:
    """Offers exactly the inference methods that an estimator has, and passes them on to it.

    Methods that fit or change the estimator are not among them. Arguments beyond the first are
    those of the estimator's own method.
    """

    def _offers(self, method: str) -> bool:
        """Whether the estimator has a method; an `AttributeError` may say why it has not."""
        raise NotImplementedError

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the fitted estimator."""
        raise NotImplementedError

    # -- predictions ---------------------------------------------------------------------------

    @available_if(source_has("predict"))
    def predict(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Predictions of the estimator: means (n,) or (n, k), or labels (n,)."""
        return self._ask("predict", X, *arguments, **options)

    @available_if(source_has("predict_proba"))
    def predict_proba(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Class probabilities (n, classes) of the estimator; a list of them for several targets."""
        return self._ask("predict_proba", X, *arguments, **options)

    @available_if(source_has("predict_log_proba"))
    def predict_log_proba(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Logarithms of the class probabilities (n, classes) of the estimator."""
        return self._ask("predict_log_proba", X, *arguments, **options)

    @available_if(source_has("predict_joint_log_proba"))
    def predict_joint_log_proba(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Joint log-probabilities (n, classes) of the estimator's classes and the rows."""
        return self._ask("predict_joint_log_proba", X, *arguments, **options)

    @available_if(source_has("decision_function"))
    def decision_function(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Decision values of the estimator: (n,) for two classes, (n, k) otherwise."""
        return self._ask("decision_function", X, *arguments, **options)

    @available_if(source_has("virtual_ensembles_predict"))
    def virtual_ensembles_predict(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Predictions of parts of the ensemble, from which CatBoost estimates uncertainty."""
        return self._ask("virtual_ensembles_predict", X, *arguments, **options)

    # -- predictions of the first trees --------------------------------------------------------

    @available_if(source_has("staged_predict"))
    def staged_predict(self, X: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Predictions after each iteration of boosting."""
        return self._ask("staged_predict", X, *arguments, **options)

    @available_if(source_has("staged_predict_proba"))
    def staged_predict_proba(self, X: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Class probabilities (n, classes) after each iteration of boosting."""
        return self._ask("staged_predict_proba", X, *arguments, **options)

    @available_if(source_has("staged_predict_log_proba"))
    def staged_predict_log_proba(self, X: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Logarithms of the class probabilities after each iteration of boosting."""
        return self._ask("staged_predict_log_proba", X, *arguments, **options)

    @available_if(source_has("staged_decision_function"))
    def staged_decision_function(self, X: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Decision values after each iteration of boosting."""
        return self._ask("staged_decision_function", X, *arguments, **options)

    @available_if(source_has("staged_score"))
    def staged_score(self, X: Any, y: Any, *arguments: Any, **options: Any) -> Iterator[float]:
        """Scores on (X, y) after each iteration of boosting."""
        return self._ask("staged_score", X, y, *arguments, **options)

    # -- scores --------------------------------------------------------------------------------

    @available_if(source_has("score"))
    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, **options: Any
    ) -> float:
        """The score of the estimator on (X, y), such as R2 or the accuracy.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            Data in the format of the estimator, n rows.
        y : array of shape (n,) or (n, k), optional
            Targets; none for clustering and decompositions.
        sample_weight : array of shape (n,), optional
            Weights of the rows.
        **options
            Further arguments of the estimator's own ``score``.

        Returns
        -------
        float
            The score; higher is better.
        """
        if sample_weight is not None:
            options["sample_weight"] = sample_weight
        return self._ask("score", X, y, **options)

    @available_if(source_has("score_samples"))
    def score_samples(self, X: Any, *arguments: Any, **options: Any) -> NDArray[Any]:
        """Scores (n,) of the rows, such as log-likelihoods or the degree of normality."""
        return self._ask("score_samples", X, *arguments, **options)

    @available_if(source_has("mahalanobis"))
    def mahalanobis(self, X: Any, *arguments: Any, **options: Any) -> NDArray[Any]:
        """Squared Mahalanobis distances (n,) of the rows from the location of the estimator."""
        return self._ask("mahalanobis", X, *arguments, **options)

    @available_if(source_has("aic"))
    def aic(self, X: Any) -> float:
        """Akaike's information criterion of the estimator on X; lower is better."""
        return self._ask("aic", X)

    @available_if(source_has("bic"))
    def bic(self, X: Any) -> float:
        """The Bayesian information criterion of the estimator on X; lower is better."""
        return self._ask("bic", X)

    @available_if(source_has("perplexity"))
    def perplexity(self, X: Any, *arguments: Any, **options: Any) -> float:
        """How badly a model of topics predicts the words of documents X; lower is better."""
        return self._ask("perplexity", X, *arguments, **options)

    # -- columns -------------------------------------------------------------------------------

    @available_if(source_has("transform"))
    def transform(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Columns (n, k) of the estimator: dense, CSR or a DataFrame."""
        return self._ask("transform", X, *arguments, **options)

    @available_if(source_has("inverse_transform"))
    def inverse_transform(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """The input (n, d) that belongs to transformed columns (n, k), by the estimator's rules."""
        return self._ask("inverse_transform", X, *arguments, **options)

    @available_if(source_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names (k,) of the transformed columns."""
        return self._ask("get_feature_names_out", input_features)

    @available_if(source_has("get_support"))
    def get_support(self, indices: bool = False) -> NDArray[Any]:
        """Mask (d,) or indices of the selected columns."""
        return self._ask("get_support", indices)

    @available_if(source_has("get_covariance"))
    def get_covariance(self) -> NDArray[Any]:
        """Covariance matrix (d, d) of the estimator's model of the data."""
        return self._ask("get_covariance")

    @available_if(source_has("get_precision"))
    def get_precision(self) -> NDArray[Any]:
        """Inverse (d, d) of the covariance matrix of the estimator's model of the data."""
        return self._ask("get_precision")

    # -- neighbors and densities ---------------------------------------------------------------

    @available_if(source_has("kneighbors"))
    def kneighbors(self, X: Any = None, *arguments: Any, **options: Any) -> Any:
        """Distances (n, k) and indices (n, k) of the nearest rows of the estimator's own data."""
        return self._ask("kneighbors", X, *arguments, **options)

    @available_if(source_has("kneighbors_graph"))
    def kneighbors_graph(self, X: Any = None, *arguments: Any, **options: Any) -> Any:
        """The nearest rows of the estimator's own data as CSR indicators or distances."""
        return self._ask("kneighbors_graph", X, *arguments, **options)

    @available_if(source_has("radius_neighbors"))
    def radius_neighbors(self, X: Any = None, *arguments: Any, **options: Any) -> Any:
        """Distances and indices of the rows of the estimator's own data within a radius."""
        return self._ask("radius_neighbors", X, *arguments, **options)

    @available_if(source_has("radius_neighbors_graph"))
    def radius_neighbors_graph(self, X: Any = None, *arguments: Any, **options: Any) -> Any:
        """The rows of the estimator's own data within a radius as CSR indicators or distances."""
        return self._ask("radius_neighbors_graph", X, *arguments, **options)

    @available_if(source_has("sample"))
    def sample(self, *arguments: Any, **options: Any) -> Any:
        """Random rows from the estimator's model of the data."""
        return self._ask("sample", *arguments, **options)

    @available_if(source_has("sample_y"))
    def sample_y(self, X: Any, *arguments: Any, **options: Any) -> NDArray[Any]:
        """Random targets of the rows from the estimator's posterior, (n, samples)."""
        return self._ask("sample_y", X, *arguments, **options)

    @available_if(source_has("latent_mean_and_variance"))
    def latent_mean_and_variance(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Mean (n,) and variance (n,) of the latent function of a Gaussian process."""
        return self._ask("latent_mean_and_variance", X, *arguments, **options)

    @available_if(source_has("log_marginal_likelihood"))
    def log_marginal_likelihood(self, *arguments: Any, **options: Any) -> Any:
        """Logarithm of the marginal likelihood of the estimator's own data."""
        return self._ask("log_marginal_likelihood", *arguments, **options)

    # -- trees ---------------------------------------------------------------------------------

    @available_if(source_has("apply"))
    def apply(self, X: Any, *arguments: Any, **options: Any) -> NDArray[Any]:
        """Indices of the leaf that each row reaches: (n,) or (n, trees), with classes (n, t, c)."""
        return self._ask("apply", X, *arguments, **options)

    @available_if(source_has("calc_leaf_indexes"))
    def calc_leaf_indexes(self, X: Any, *arguments: Any, **options: Any) -> NDArray[Any]:
        """Indices (n, trees) of the leaf that each row reaches, as CatBoost counts them."""
        return self._ask("calc_leaf_indexes", X, *arguments, **options)

    @available_if(source_has("decision_path"))
    def decision_path(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """The nodes that each row passes, as CSR indicators; a forest adds where trees start."""
        return self._ask("decision_path", X, *arguments, **options)

    @available_if(source_has("get_depth"))
    def get_depth(self) -> int:
        """Depth of the tree."""
        return self._ask("get_depth")

    @available_if(source_has("get_n_leaves"))
    def get_n_leaves(self) -> int:
        """Number of leaves of the tree."""
        return self._ask("get_n_leaves")


INFERENCE_METHODS: tuple[str, ...] = tuple(
    name for name in vars(SourceMethods) if not name.startswith("_")
)
"""Names of the inference methods that an estimator may have."""
