"""Tensor-decomposed layers; knows torch and nothing else, so it can be used on its own."""

from __future__ import annotations

from dsmsim.tensor.build import LAYERS, from_dense, tensor_linear
from dsmsim.tensor.convolution import TTConv2d
from dsmsim.tensor.cp_linear import CPLinear
from dsmsim.tensor.embedding import TREmbedding, TTEmbedding
from dsmsim.tensor.initial import core_std
from dsmsim.tensor.layer import TensorLinear, kept_weights
from dsmsim.tensor.low_rank import LowRankLinear
from dsmsim.tensor.recurrent import MPOLSTM, TTGRU, TTLSTM
from dsmsim.tensor.tt_linear import TRLinear, TTLinear
from dsmsim.tensor.tucker_linear import BlockTermLinear, TuckerLinear

__all__ = [
    "LAYERS",
    "MPOLSTM",
    "TTGRU",
    "TTLSTM",
    "BlockTermLinear",
    "CPLinear",
    "LowRankLinear",
    "TREmbedding",
    "TRLinear",
    "TTConv2d",
    "TTEmbedding",
    "TTLinear",
    "TensorLinear",
    "TuckerLinear",
    "core_std",
    "from_dense",
    "kept_weights",
    "tensor_linear",
]
