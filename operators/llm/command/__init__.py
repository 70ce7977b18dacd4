"""Programs of a command line as language models: coding agents, and whatever answers a prompt on standard input.

client.py    the language model       output.py    answers and costs in the formats of the known programs
process.py   one run, with its limits sandbox.py   what the program can reach of this machine
network.py   the hosts that it can reach           bridge.py    runs inside, beside the program
workspace.py the folders of an agent at work       smoke.py     runs inside, for its command check
"""
