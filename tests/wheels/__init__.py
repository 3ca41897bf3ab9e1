"""The harness held to the real wheel of faiss-gpu, which loads without a driver.

python -m tests.wheels [ARGUMENT OF PYTEST ...]     make its environment once, and test in it
"""
