"""A prompt as the one text that a model reads: through the tokenizer's chat template, or a plain layout where there is none."""

from typing import Any, Final

from detector.narrative.prompt import Prompt

_PLAIN: Final = "{system}\n\n{user}\n\nAnswer: "


def rendered(tokenizer: Any, prompt: Prompt) -> str:
    """The text up to where the answer begins; special tokens are in it, so encode it without adding any.

    Models that think aloud by default are told not to: the answer's grammar leaves no room for it.
    """
    turns = [turn for shot in prompt.shots for turn in (("user", shot.user), ("assistant", shot.answer))] + [("user", prompt.user)]
    if getattr(tokenizer, "chat_template", None) is None:
        before = "".join(f"{text}\n\nAnswer: " if who == "user" else f"{text}\n\n" for who, text in turns[:-1])
        return _PLAIN.format(system=prompt.system, user=before + prompt.user)
    messages = [{"role": "system", "content": prompt.system}, *({"role": who, "content": text} for who, text in turns)]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False))
