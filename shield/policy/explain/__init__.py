"""Why: the questions that are asked of a request, with their answers.

picture.py     what they go by, as a value: cheap to take, so that one is kept of refused requests
explainer.py   takes pictures: of a request, of an address and its clients, of a pass
refusing.py    what refuses whom Shield has pardoned
questions.py   makes questions and answers of a picture, in the order of judge.py
"""
