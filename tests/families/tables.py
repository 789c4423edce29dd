"""The sizes and switches of the tiny models of `configs.py`: data only."""

from __future__ import annotations

from typing import Any

# Set in every config whose class declares the name, also in configs inside configs.
SIZES: dict[str, Any] = {
    "vocab_size": 61, "decoder_vocab_size": 61,
    "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 0,
    "tie_word_embeddings": False,
    # width
    "hidden_size": 32, "n_embd": 32, "d_model": 32, "embed_dim": 32, "emb_dim": 32,
    "embedding_size": 20, "input_embedding_size": 20, "output_embedding_size": 20,
    "word_embed_proj_dim": 32,
    # depth
    "num_hidden_layers": 3, "n_layer": 3, "n_layers": 3, "num_layers": 3, "depth": 1,
    "encoder_layers": 1, "decoder_layers": 3, "num_encoder_layers": 1, "num_decoder_layers": 3,
    # heads; twelve numbers each, more than the prompt's tokens, unlike hidden_size / heads
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "attention_heads": 4,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4,
    "num_key_value_heads": 2, "num_kv_heads": 2, "kv_n_heads": 2, "head_dim": 12, "d_head": 12,
    "dim_head": 12, "kv_channels": 12,
    # neurons
    "intermediate_size": 40, "n_inner": 40, "ffn_dim": 40, "d_ff": 40, "dim_ff": 40, "dff": 40,
    "d_inner": 40, "ffn_hidden_size": 40, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40,
    "feed_forward_size": 40, "intermediate_size_mlp": 40, "dense_intermediate_size": 40,
    # positions
    "max_position_embeddings": 32, "n_positions": 32, "n_ctx": 32, "max_seq_len": 32,
    "max_source_positions": 32, "max_target_positions": 32, "original_max_position_embeddings": 32,
    "rotary_dim": 4,
    # windows: shorter than the prompt
    "sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1, "window_size": 3,
    "attention_window_size": 3, "local_attention": 6, "keep_window_size": 3,
    # experts: two groups of three where there are groups
    "num_experts": 6, "num_local_experts": 6, "n_routed_experts": 6, "moe_num_experts": 6,
    "num_experts_per_tok": 2, "num_experts_per_token": 2, "moe_topk": 2, "moe_k": 2, "moe_top_k": 2,
    "n_shared_experts": 1, "num_shared_experts": 1, "moe_num_shared_experts": 1,
    "moe_intermediate_size": 12, "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16, "moe_shared_expert_intermediate_size": 16,
    "n_group": 2, "num_expert_group": 2, "topk_group": 1,
    "first_k_dense_replace": 1, "num_dense_layers": 1, "moe_layer_start_index": 1,
    "routed_scaling_factor": 1.7, "route_scale": 1.7, "swiglu_limit": 2.0,
    # sparse attention: fewer keys than the prompt's tokens
    "index_topk": 3, "index_head_dim": 8, "index_n_heads": 2,
    # hyper-connections
    "hc_mult": 3, "hc_count": 3, "hc_lowrank": 5,
    # state spaces, recurrences, convolutions
    "mamba_d_state": 6, "mamba_d_head": 16, "mamba_n_heads": 4, "mamba_expand": 2,
    "mamba_n_groups": 2, "mamba_ngroups": 2, "mamba_chunk_size": 4, "mamba_dt_rank": 4,
    "mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2, "chunk_size": 4,
    "state_size": 6, "ssm_state_size": 6, "time_step_rank": 4, "residual_in_fp32": False,
    "lru_width": 32,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 10, "linear_num_heads": 4, "linear_head_dim": 8,
    # biases and norms
    "attention_bias": True, "mlp_bias": True, "use_bias": True, "qkv_bias": True, "add_bias": True,
    "use_qkv_bias": True, "attention_out_bias": True, "lm_head_bias": True, "conv_bias": True,
    "norm_bias": True, "mamba_proj_bias": True, "projectors_bias": True, "bias": True,
    "add_bias_linear": True, "use_qk_norm": True, "qk_layernorm": True,
    # scales and clips, none of them trivial
    "embedding_multiplier": 1.7, "embedding_scale": 1.7, "scale_embedding": True,
    "logits_scaling": 0.6, "logit_scale": 0.4, "residual_multiplier": 0.7,
    "attention_multiplier": 0.4, "query_pre_attn_scalar": 5, "clip_qkv": 1.5,
    "final_logit_softcapping": 5.0, "attn_logit_softcapping": 2.0, "logits_soft_cap": 5.0,
    # encoders that can be decoders
    "is_decoder": True,
    # images and sounds, which the prompt has none of
    "num_codebooks": 1, "image_size": 28, "patch_size": 14, "out_hidden_size": 32,
    "num_position_embeddings": 16, "position_embedding_size": 16,
}  # fmt: skip

# Set where the class declares `qk_rope_head_dim`: latent attention has one key for all heads, and
# its `head_dim` is the width of the part that is rotated.
LATENT: dict[str, Any] = {
    "num_key_value_heads": 4, "head_dim": 4, "q_lora_rank": 14, "kv_lora_rank": 10,
    "qk_rope_head_dim": 4, "qk_nope_head_dim": 6, "v_head_dim": 8,
}  # fmt: skip

_WINDOWS = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_LINEAR = {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
_CONV = {"layer_types": ["conv", "full_attention", "conv"]}
_EXPERTS = {"mlp_layer_types": ["dense", "sparse", "sparse"]}
_WIDE = {"head_dim": 16}  # a quarter of it is rotated
_GEMMA4: dict[str, Any] = {
    **_WIDE,
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "global_head_dim": 24,
}
_GEMMA3N: dict[str, Any] = {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
    "vocab_size_per_layer_input": 61, "hidden_size_per_layer_input": 6,
    "laurel_rank": 6, "altup_num_inputs": 3,
    "activation_sparsity_pattern": [0.6, 0.0, 0.6, 0.0],
}  # fmt: skip
_BAMBA = {"attn_layer_indices": [1]}
_BLOCK_SPARSE = {"attention_type": "original_full"}  # what they fall back to for short prompts

# What a family's config needs besides, by model type; also for configs inside configs.
FAMILIES: dict[str, dict[str, Any]] = {
    "afmoe": {**_WINDOWS, "mup_enabled": True},
    "axk2": {"gated_norm_rank": 6, **_EXPERTS},
    "bailing_hybrid": {**_LINEAR, "head_dim": 8},
    "bamba": _BAMBA,
    "beam": {**_WINDOWS, **_EXPERTS},
    "big_bird": _BLOCK_SPARSE,
    "bigbird_pegasus": _BLOCK_SPARSE,
    "blt": {
        "encoder_hash_byte_group_vocab": 50, "encoder_hash_byte_group_size": [3, 4],
        "patch_size": 3, "patching_threshold": 3.3, "local_attention_window_len": 3,
    },
    "blt_local_encoder": {"hidden_size_global": 64, "num_hidden_layers": 1},
    "blt_local_decoder": {"hidden_size_global": 64, "num_hidden_layers": 2},
    "blt_global_transformer": {"hidden_size": 64, "num_hidden_layers": 2},
    "cohere2": _WINDOWS,
    "cohere2_moe": {**_WINDOWS, **_EXPERTS, "prefix_dense_intermediate_size": 40},
    "cohere_compass_text": {
        **_WINDOWS,
        "rope_parameters": {
            "sliding_attention": {
                "rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1],
            },
            "full_attention": None,
        },
    },
    "cwm": _WINDOWS,
    "deepseek_v2": {"topk_method": "group_limited_greedy"},
    "deepseek_v32": _EXPERTS,
    "deepseek_v4": {
        "layer_types": [
            "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention",
        ],
        "mlp_layer_types": ["hash_moe", "moe", "moe"],
        "num_key_value_heads": 1, "q_lora_rank": 14, "partial_rotary_factor": 0.5,
        "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 3},
        "index_topk": 2, "o_groups": 2, "o_lora_rank": 6,
    },
    "dots3_note_text": {
        **_EXPERTS,
        "layer_types": ["indexed_attention", "sliding_attention", "indexed_attention"],
        "shared_experts_intermediate_size": 16,
        "swa_num_attention_heads": 2, "swa_num_key_value_heads": 2, "swa_q_lora_rank": 10,
        "swa_kv_lora_rank": 8, "swa_head_dim": 10, "swa_qk_nope_head_dim": 6, "swa_v_head_dim": 6,
    },
    "dots3_note_vision_encoder": {
        "mlp_layer_types": ["dense"] * 3, "adapter_in_dim": 32, "adapter_out_dim": 32,
    },
    "dots3_note_audio_encoder": {
        "adapter_input_size": 32, "adapter_out_dim": 32, "downsample_hidden_size": 4,
        "feature_size": 16,
    },
    "ernie": {"use_task_id": True},
    "exaone4": _WINDOWS,
    "exaone_moe": _WINDOWS,
    "falcon_h1": {
        "mamba_d_ssm": 64, "mamba_rms_norm": True,
        "lm_head_multiplier": 0.6, "mlp_multipliers": [0.8, 1.3], "key_multiplier": 0.7,
        "attention_in_multiplier": 0.8, "attention_out_multiplier": 0.6,
        "ssm_in_multiplier": 0.9, "ssm_out_multiplier": 1.2,
        "ssm_multipliers": [0.9, 1.1, 0.8, 1.2, 0.7],
    },
    "flint": {**_WINDOWS, "mlp_only_layers": [0]},
    "gemma2": _WINDOWS,
    "gemma3_text": _WINDOWS,
    "gemma3n_text": _GEMMA3N,
    "gemma3n_audio": {
        "hidden_size": 24, "conf_num_attention_heads": 2, "conf_num_hidden_layers": 1,
        "sscp_conv_channel_size": [4, 2], "input_feat_size": 16, "vocab_offset": 69,
    },
    "gemma3n_vision": {"vocab_size": 8, "vocab_offset": 61},
    # Experts and keys that are values; per-layer inputs and shared keys in gemma4_text below.
    "gemma4": {
        "text_config": {
            "enable_moe_block": True, "top_k_experts": 2, "attention_k_eq_v": True,
            "num_global_key_value_heads": 1, "num_kv_shared_layers": 0,
            "use_double_wide_mlp": False, "hidden_size_per_layer_input": 0,
        },
    },
    "gemma4_text": {
        **_GEMMA4,
        "num_kv_shared_layers": 2, "use_double_wide_mlp": True,
        "vocab_size_per_layer_input": 61, "hidden_size_per_layer_input": 6,
    },
    "gemma4_unified": {
        "text_config": {"num_kv_shared_layers": 2, "attention_k_eq_v": False},
    },
    "gemma4_unified_text": {
        **_GEMMA4, "attention_k_eq_v": True, "num_global_key_value_heads": 1,
    },
    "git_vision_model": {"num_hidden_layers": 1},
    "glm_moe_dsa": {**_EXPERTS, "indexer_types": ["full", "shared", "full"]},
    "got_ocr2_vision": {"output_channels": 8, "mlp_dim": 20},
    "gpt-sw3": {"scale_attn_by_inverse_layer_idx": True},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]]},
    "granite_swa": {"layer_rope_theta": [10000.0, 500.0, 0.0]},
    "granitemoe_swa": {"layer_rope_theta": [10000.0, 500.0, 0.0]},
    "granitemoehybrid": {**_LINEAR, "position_embedding_type": "rope"},
    "helium": {"head_dim": 8},  # its output projection takes no other
    "hrm_text": {"num_hidden_layers": 2, "H_cycles": 2, "L_cycles": 2},
    "hy_v4": {"indexer_types": ["full", "shared", "full"]},
    "inkling_text": {
        **_EXPERTS,
        "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
        "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 10,
        "sliding_window_size": 3, "d_rel": 4, "rel_extent": 5, "log_scaling_n_floor": 2,
        "n_shared_experts": 2, "logits_mup_width_multiplier": 1.7,
    },
    "inkling2_text": {
        "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
        "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 10,
        "sliding_window_size": 3, "d_rel": 4, "rel_extent": 5, "log_scaling_n_floor": 2,
        "qk_l2_clip_threshold": 3.0, "rel_l2_clip_threshold": 2.0,
        "n_layers_per_attn_res_block": 2, "unpadded_vocab_size": 59,
        "mlp_gate_softcap": 2.0, "mlp_up_softcap": 3.0,
    },
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": _LINEAR,
    "kolibri1": _WINDOWS,
    "laguna": {
        **_WINDOWS, "num_attention_heads_per_layer": [4, 6, 4],
        "moe_routed_scaling_factor": 1.7, "moe_router_logit_softcapping": 2.0,
    },
    "lfm2": {**_CONV, "block_auto_adjust_ff_dim": False},
    "lfm2_moe": _CONV,
    "lfm3": {
        "num_hidden_layers": 4,
        "layer_types": ["conv", "full_attention", "sliding_attention", "conv"],
    },
    "llama": {"head_dim": 6},
    "llama4_text": {
        "attention_chunk_size": 4, "no_rope_layers": [1, 0, 1], "floor_scale": 2,
        "interleave_moe_layer_step": 2,
    },
    "longcat_flash": {"expert_ffn_hidden_size": 12, "zero_expert_num": 2, "num_layers": 2},
    "mamba2": {"head_dim": 16},
    "mellum": {**_WINDOWS, **_EXPERTS},
    "mimo_v2_flash": {
        "layer_types": ["full_attention", "sliding_attention", "full_attention"], "v_head_dim": 8,
    },
    "minicpm3": {"scale_emb": 3, "scale_depth": 1.4, "dim_model_base": 20},
    "minimax": {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "block_size": 4,
        "full_attn_alpha_factor": 1.3, "full_attn_beta_factor": 0.8,
        "linear_attn_alpha_factor": 1.2, "linear_attn_beta_factor": 0.7,
        "mlp_alpha_factor": 1.1, "mlp_beta_factor": 0.9,
    },
    "minimax_m3_vl_text": {
        **_EXPERTS,
        "layer_types": ["full_attention", "minimax_m3_sparse", "minimax_m3_sparse"],
        "intermediate_size": 12, "index_block_size": 2, "index_topk_blocks": 2,
    },
    "ministral": _WINDOWS,
    "ministral3": {
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 16.0, "beta_fast": 32.0,
            "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4, "llama_4_scaling_beta": 0.1,
        },
    },
    "mistral": {"head_dim": 6},
    # The layer of cross attention is passed over where there is no image.
    "mllama_text_model": {"num_hidden_layers": 4, "cross_attention_layers": [1]},
    "mpt": {"attn_config": {"softmax_scale": 0.4, "clip_qkv": 1.5}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 1.5, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 12, "moe_num_experts": 6, "moe_top_k": 2},
    },
    "phimoe": {"router_jitter_noise": 0.2},  # also a threshold of the router
    "nemotron_h": {"moe_latent_size": 20},
    "olmo3": _WINDOWS,
    "olmo_hybrid": _LINEAR,
    "phi4_multimodal_vision": {"crop_size": 28},
    "phi4_multimodal_audio": {
        "num_blocks": 1, "ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32,
        "nemo_conv_channels": 8, "input_size": 16, "chunk_size": -1,
    },
    "qwen2_moe": {"mlp_only_layers": [0]},
    "qwen3_moe": {"mlp_only_layers": [0]},
    "qwen3_next": {**_LINEAR, **_WIDE, "mlp_only_layers": [0]},
    "qwen3_5_text": {**_LINEAR, **_WIDE},
    "qwen3_5_moe_text": {**_LINEAR, **_WIDE},
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention", "linear_attention"],
        "ple_layer_ids": [1], "ple_embed_dim": 8, "heads_per_ngram": 2, "ngram_size": 3,
        "ngram_vocab_size_base": 50, "make_ngram_vocab_size_divisible_by": 8,
        "split_ngram_parts": 2,
        "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 12,
        "indexer_budget": 4, "indexer_compress_ratio": 2,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention", "recurrent"]},
    "reformer": {
        "attention_head_size": 12, "attn_layers": ["local", "lsh", "local"],
        "axial_pos_embds": False, "local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4,
        "num_buckets": 2, "hash_seed": 0,
    },
    "roc_bert": {
        "pronunciation_embed_dim": 12, "pronunciation_vocab_size": 61,
        "shape_embed_dim": 10, "shape_vocab_size": 61,
    },
    "rwkv": {"attention_hidden_size": 24, "rescale_every": 2},
    "smollm3": {"no_rope_layers": [1, 0, 1]},
    "vaultgemma": _WINDOWS,
    "xlm": {"causal": True},
    "xlnet": {"attn_type": "uni", "d_head": 8},  # causal
    "xmod": {"default_language": "en_XX"},
    # Tied, for the one block that they come back to is shared by that switch too.
    "zamba": {
        "tie_word_embeddings": True,
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
    "zamba2": {
        "tie_word_embeddings": True,
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "n_mamba_heads": 4, "num_key_value_heads": 4, "use_mem_rope": True,
        "use_shared_attention_adapter": True, "adapter_rank": 4,
    },
    "zaya": {
        "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
        "num_experts_per_tok": 1, "router_hidden_size": 10,
    },
}  # fmt: skip

# Other forms of some families: the family, and changes of its config.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom-post-ln-residual": ("bloom", {"apply_residual_connection_post_layernorm": True}),
    "doge-moe": ("doge", {"is_moe": True, "num_experts": 9, "num_experts_per_tok": 2}),
    "falcon-alibi": ("falcon", {"alibi": True}),
    "falcon-new": ("falcon", {"new_decoder_architecture": True}),
    "falcon-serial": ("falcon", {"parallel_attn": False, "multi_query": False, "num_kv_heads": 4}),
    "gpt_bigcode-multi-head": ("gpt_bigcode", {"multi_query": False}),
    "gpt_neox-serial": ("gpt_neox", {"use_parallel_residual": False}),
    "mimo-dense": ("mimo_v2_flash", {"mlp_layer_types": ["dense"] * 3}),
    "opt-post-norm": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 20}),
    "phi-plain": ("phi", {"qk_layernorm": False}),
    "stablelm-parallel": ("stablelm", {"use_parallel_residual": True}),
    "stablelm-plain": ("stablelm", {"qk_layernorm": False, "use_qkv_bias": False}),
    "xmod-pre-norm": ("xmod", {"pre_norm": True}),
}  # fmt: skip

# Families whose entry in the mapping is the decoder alone, while their config is of the whole.
INNER: dict[str, str] = {"musicgen": "decoder", "musicgen_melody": "decoder"}

# Families that are tested with newer versions only.
FROM_5: dict[str, str] = {
    "gemma2": "has its softcap in eager attention only",
    "gpt_oss": "is not there",
    "jamba": "needs kernels",
    "llama4_text": "has no causal mask without a cache",
    "minicpm3": "is not there",
}

CANNOT: dict[str, str] = {
    "gemma4_assistant": "drafts from the states and the keys and values of another model",
    "gemma4_unified_assistant": "drafts from the states and the keys and values of another model",
}

# Families that run in float32 only.
FLOAT32_ONLY: dict[str, str] = {
    "xglm": "its attention makes a float32 number of the least float64, which overflows",
}

# A config inside a family's config whose model needs packages that are not here, and the model
# type that stands in for it.
STAND_INS: dict[str, dict[str, str]] = {"gemma3n": {"vision_config": "siglip_vision_model"}}

# Parameters that are float32 whatever the model: what they multiply is made float32 first.
FLOAT32: dict[str, str] = {"inkling2_text": ".mlp.gate.weight"}

# Parameters that keep their init, but for a little noise: states and routes would run away.
GENTLE = (
    "A_log", ".D", "dt_bias", "dt_proj.bias",
    "e_score_correction_bias", "expert_bias", "balancing_biases",
)  # fmt: skip
# Buffers that act as weights.
BUFFERS = (
    "e_score_correction_bias", "expert_bias", "balancing_biases", "layer_scalar", "tid2eid",
)  # fmt: skip
