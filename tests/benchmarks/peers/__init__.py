"""Our translator beside three peer toolkits on the same work: beam search over LSTMs of 4+4 layers of 512.

What is compared is decoding speed and nothing else: every contender has random or hardly trained weights, reads source
sentences of one length, and is made to write exactly as many target tokens as every other. Each runs in a process of
its own, the peers in virtual environments of their own, and a decoding that did less work than asked is an error.

Run it with `make bench-peers`, alone on the machine.
"""
