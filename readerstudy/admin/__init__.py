"""Admin pages from which a study is run: people, studies, and every act on them.

Who holds no role in a study learns its name and state here and nothing else; what each
role may see and do is asked of `trial.policies`, and every act is a function of
`trial`. What a rating rests on (arms, cases, maps, presentations, rating events) has no
page on which it could be changed, listed, filtered or searched.
"""

from readerstudy.admin import people, studies  # noqa: F401  (they register themselves)
