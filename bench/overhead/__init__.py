"""`make bench NAME=overhead`: what orchestration costs. A `retrain` with nothing to do, and a stage through the flow against its function called plainly.

    no change   the command in a process of its own, start of Python included: with no server up, then with both up
    a stage     seconds from the flow's call of the stage's task to its end (DVC asked, launched, checked, committed, events),
                less the function's own seconds; both of a stage that writes a line
    a second    processor seconds a second of what runs beside a stage: the display on a terminal, the samples of memory and
                processor, and the log that follows the record

From these the share of a stage of ten minutes is reckoned as if all of it were taken from the stage: nothing is measured over ten minutes.
The no-change runs are in this repository where nothing is stale in it, else in the project of quick stages the tests use
(`project` says which). Disk caches are warm in both.
"""
