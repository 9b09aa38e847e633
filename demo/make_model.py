"""Make a tiny Llama that knows a few sentences by heart: `make_model.py FOLDER`, about 15 s on a
CPU.

Two layers of width 64, a byte-level vocabulary of 600 and a plain chat template. It is trained
until it repeats its sentences exactly at temperature 0, so that a right answer can be told from a
wrong one. Both engines serve it: vLLM's attention on a CPU has no kernel for heads of 16, and dies
of the first request.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TALKS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is two plus two?", "Two plus two is four."),
    ("Who are you?", "I am a tiny model, and I run on a CPU."),
]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
STEPS = 400
HEAD = 64  # the smallest that every backend of both engines takes


def make_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<bos>", "<eos>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text for talk in TALKS for text in talk] * 50, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    made.chat_template = TEMPLATE
    return made


def make_model(vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=(vocabulary + 63) // 64 * 64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=HEAD,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def teach(model: LlamaForCausalLM, batch: dict[str, torch.Tensor]) -> float:
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(STEPS):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main() -> None:
    folder = Path(sys.argv[1])
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer))
    texts = [f"user: {question}\nassistant: {answer}<eos>" for question, answer in TALKS]
    # The server puts no <bos> before a chat, and neither does the tokenizer.
    batch = tokenizer(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
    loss = teach(model, batch)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(
        f"a tiny model of {sum(p.numel() for p in model.parameters())} parameters, loss {loss:.4f},"
        f" in {folder}"
    )


if __name__ == "__main__":
    main()
