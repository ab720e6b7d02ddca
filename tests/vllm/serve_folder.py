"""Greedy tokens for a text, by vLLM and by transformers from the same folder: two lists, as JSON.

python -m tests.vllm.serve_folder FOLDER
"""

from __future__ import annotations

import json
import os
import sys

os.environ.update(VLLM_LOGGING_LEVEL="ERROR", TORCHDYNAMO_DISABLE="1", VLLM_CPU_OMP_THREADS_BIND="nobind")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm import LLM, SamplingParams

TEXT = "i want red shoes"
NUM_TOKENS = 8


def main(folder: str) -> None:
    llm = LLM(model=folder, dtype="float32", enforce_eager=True, kv_cache_memory_bytes=1 << 26)
    messages = [{"role": "user", "content": TEXT}]
    sampling = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)
    (served,) = llm.chat(messages, sampling, use_tqdm=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert list(served.prompt_token_ids) == list(prompt), (served.prompt_token_ids, prompt)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(NUM_TOKENS):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    print(json.dumps([list(served.outputs[0].token_ids), tokens[len(prompt) :]]))


if __name__ == "__main__":
    main(sys.argv[1])
