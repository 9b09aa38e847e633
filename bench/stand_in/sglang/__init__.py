"""A stand-in for SGLang that costs next to nothing, so that what supervises it can be measured."""
