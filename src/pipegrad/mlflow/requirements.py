"""The packages that a server of a model installs."""

from __future__ import annotations

from importlib import metadata

from ..module import PipelineModule

_ALWAYS = ("torch", "sklearn", "numpy", "skops", "pandas")


def requirements(net: PipelineModule) -> list[str]:
    """The installed versions of the packages that a module needs.

    Parameters
    ----------
    net : PipelineModule
        The module.

    Returns
    -------
    list of str
        Lines such as "scikit-learn==1.9.1".
    """
    packages = metadata.packages_distributions()
    libraries = {step.kind.partition(".")[0] for step in net.graph}
    names = dict.fromkeys([*_ALWAYS, *sorted(libraries - {"pipegrad"})])
    found = [distribution for name in names for distribution in packages.get(name, [])[:1]]
    # The part after a plus says how it was built, which registries of packages do not know.
    versions = {name: metadata.version(name).partition("+")[0] for name in found}
    own = metadata.version("pipegrad")
    return [f"pipegrad[files]=={own}", *(f"{name}=={v}" for name, v in versions.items())]
