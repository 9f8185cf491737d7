"""A fleet to break: ``make demo-cluster``, or ``python -m demo_cluster``.

A broker, three instances of the demo's chat and a front that deals connections out among
them, all on this machine and each a process of its own, with a page whose buttons kill and
restart them. ``wsrooms`` itself ships none of this: who runs processes is no part of a
library.

``keeper`` ends a program with its owner · ``parts`` the broker and the instances ·
``instance`` the chat, in each of these processes · ``fleet`` all of them and their state ·
``front`` the port that browsers see · ``control`` the page, its buttons, and who may press
them.
"""
