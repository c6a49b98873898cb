"""Memory: the record log in SQLite, what derives from it, conversations in RAM, and the fusion of search results.

Importing this package loads neither numpy nor faiss: vectors are compared in a worker process (`vector_worker`).
"""
