"""The atoms' pass on a CPU: a C++ kernel, compiled for this machine when it is first needed."""
