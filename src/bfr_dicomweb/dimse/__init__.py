"""The DIMSE door (PS3.4, PS3.7, PS3.8), for modalities and archives that speak nothing newer.

pynetdicom gives each association a thread. Handlers run there; they parse their message, have one
service do the work in the event loop of the process (`Door.wait`), and write the answer.
"""
