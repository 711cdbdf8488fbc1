"""coldlm: after how many feedback events, and at what cost, does a language model recommend
well?"""

__version__ = "0.1.0"
