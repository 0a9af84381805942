"""How reports look: a self-contained page, figures, the variants' colours.

Pure: no Django, no torch. Both applications use it.
"""
