"""The pages Explore and Watch it train: what they offer, measured, recorded, told in words and as plain PyTorch.

`model` measures a setting and predicts it, `snippet` writes it down as plain PyTorch, `grid` records and reads the
page's measurements. The door is `model.Setting` with `model.measure` and `model.predict`.

`train` has the settings of the networks that train in the page, and trains them by PyTorch. The door is `train.parse`
with `train.train`. `cli` is `vgdocs explore` and `vgdocs train`.
"""
