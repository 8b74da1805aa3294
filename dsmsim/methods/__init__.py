"""What the commands do: run a method, compare with references, draw, and say how good the result is.

installed     methods found through entry points, so that a baseline is added without touching this package
runs          run, resume, check, baseline: what is done in which order
references    which references a run has, what they would cost, their results
cache         references that were computed before
comparing     errors of one result against another
compressing   a trained network in another format, and what that costs
doctor        what the launcher gave, and whether it computes the right thing; its parts: doctor_checks,
              doctor_directory, doctor_training
"""
