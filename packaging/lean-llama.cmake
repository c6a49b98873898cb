# Passed to llama-cpp-python's build as CMAKE_PROJECT_llama.cpp_INCLUDE, so it is read inside llama.cpp's own project().
# A plain variable set there beats the cache entry that llama-cpp-python forces on: llama-common (command-line helpers and
# servers, two thirds of the compile time) is not built. The Python package never loads it.
set(LLAMA_BUILD_COMMON OFF)
