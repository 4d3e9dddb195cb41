"""Evidence: what proves a release to somebody who has only the packet and a public key.

A release is one closed ledger record. Its *packet* is a set of small files that follow from that record
and from the root of the packet before it, byte for byte, so collecting twice gives the same files and a
lost packet is made again from the ledger (`packet`). A *statement* says in-toto's way what was done or
judged (`statement`), an *envelope* carries a statement with its signatures (`envelope`), *trust* says
whose keys count and how many of them (`trust`), and *verification* holds a packet against all of it.

Everything here takes and returns values. Nothing opens a file, reads a clock or an environment, or asks
a network; nothing here ever signs or trusts because a name says so.

    members = packet_of(intent, outcome, previous=None, shape=SHAPE).members
    envelope = sealed(release_statement(read_packet(members[PACKET])), [key])
    trust.signers(read_envelope(envelope_bytes(envelope)), at=now)
"""
