"""glm5-serve: brings GLM-5-class NVFP4 models up on Blackwell hosts with SGLang, and keeps them
up.
"""

__version__ = "0.1.0"
