"""Reports: a self-contained page, figures in one style, variants in their colours.

Pure: no Django, no torch. Both applications use it.
"""
