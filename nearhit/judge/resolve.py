"""Resolve: the judge that a setting names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from nearhit.flow.ports import PairJudge

_LITELLM, _ONNX = "litellm/", "onnx:"


def judge_for(name: str, level: float = 0.5) -> PairJudge | None:
    """Return the judge for ``name``; nothing is loaded or connected before its first call.

    Args:
        name: ``litellm/<model>`` (any chat model of LiteLLM), ``onnx:<folder>`` (a cross-encoder in this process), or
            empty for none.
        level: the smallest probability with which ``same`` counts.

    Raises:
        ConfigError: ``name`` is none of these.
    """
    # imported here: each choice brings parts that the others do not need
    if not name:
        return None
    if name.startswith(_LITELLM):
        from nearhit.judge.litellm_judge import LiteLLMJudge  # noqa: PLC0415

        return LiteLLMJudge(name.removeprefix(_LITELLM), level=level)
    if name.startswith(_ONNX):
        from nearhit.judge.onnx_judge import OnnxJudge  # noqa: PLC0415

        return OnnxJudge(name.removeprefix(_ONNX), level=level)
    raise ConfigError(f"judge must be litellm/<model> or onnx:<folder>, not {name!r}")
