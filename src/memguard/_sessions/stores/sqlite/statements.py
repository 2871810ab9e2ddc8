"""
The statements of the verbs. The number of the space comes first nearly everywhere.
"""

from __future__ import annotations

from typing import Final

# -- owners ----------------------------------------------------------------------------

JOIN: Final = (
    "INSERT INTO owners (space, owner, expires_at) VALUES (?, ?, ?)"
    " ON CONFLICT (space, owner) DO UPDATE SET expires_at = excluded.expires_at"
)
BEAT: Final = (
    "UPDATE owners SET expires_at = ? WHERE space = ? AND owner = ? AND expires_at > ?"
)
OWNERS: Final = "SELECT owner, expires_at FROM owners WHERE space = ?"
OTHERS: Final = "SELECT EXISTS (SELECT 1 FROM owners WHERE space = ? AND owner <> ?)"
LEASE: Final = "SELECT expires_at FROM owners WHERE space = ? AND owner = ?"
END_OWNER: Final = "DELETE FROM owners WHERE space = ? AND owner = ?"
END_CLAIMS: Final = "DELETE FROM claims WHERE space = ? AND owner = ?"
END_WANTS: Final = "DELETE FROM wants WHERE space = ? AND owner = ?"
FORGET_WANTS: Final = "DELETE FROM wants WHERE space = ? AND at <= ?"
HAD: Final = (
    "SELECT count(*) FROM claims c JOIN sessions s ON s.space = c.space"
    " AND s.id = c.id WHERE c.space = ? AND c.owner = ?"
)

# -- one session -----------------------------------------------------------------------

# All that a claim has to know, in one row: the lease of who claims, who has the
# session with its lease, what others and who claims wanted, and what is stored.
STATE: Final = (
    "WITH a (space, id, owner, have) AS (VALUES (?, ?, ?, ?))"
    " SELECT (SELECT expires_at FROM owners WHERE space = a.space AND owner = a.owner),"
    " c.owner,"
    " (SELECT expires_at FROM owners WHERE space = a.space AND owner = c.owner),"
    " (SELECT max(at) FROM wants"
    " WHERE space = a.space AND id = a.id AND owner <> a.owner),"
    " (SELECT at FROM wants WHERE space = a.space AND id = a.id AND owner = a.owner),"
    " s.version, CASE WHEN s.version = a.have THEN NULL ELSE CAST(s.record AS BLOB) END"
    " FROM a LEFT JOIN claims c ON c.space = a.space AND c.id = a.id"
    " LEFT JOIN sessions s ON s.space = a.space AND s.id = a.id"
)
CLAIM: Final = "INSERT INTO claims (space, id, owner) VALUES (?, ?, ?)"
RELEASE: Final = "DELETE FROM claims WHERE space = ? AND id = ? AND owner = ?"
WANT: Final = "INSERT OR REPLACE INTO wants (space, id, owner, at) VALUES (?, ?, ?, ?)"
UNWANT: Final = "DELETE FROM wants WHERE space = ? AND id = ? AND owner = ?"
WANTED: Final = (
    "SELECT DISTINCT w.id FROM wants w JOIN claims c ON c.space = w.space"
    " AND c.id = w.id WHERE w.space = ? AND c.owner = ? AND w.owner <> c.owner"
    " AND w.at > ?"
)

# -- writing ---------------------------------------------------------------------------

MINE: Final = (
    "SELECT expires_at, EXISTS (SELECT 1 FROM claims c"
    " WHERE c.space = o.space AND c.id = ? AND c.owner = o.owner)"
    " FROM owners o WHERE o.space = ? AND o.owner = ?"
)
HAS: Final = "SELECT 1 FROM claims WHERE space = ? AND id = ? AND owner = ?"
PUT: Final = (
    "INSERT INTO sessions (space, id, version, expires_at, size, record)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (space, id) DO UPDATE SET"
    " version = excluded.version, expires_at = excluded.expires_at,"
    " size = excluded.size + paged, record = excluded.record"
)
NUMBER: Final = "SELECT number FROM sessions WHERE space = ? AND id = ?"
SIZE: Final = "SELECT size FROM sessions WHERE space = ? AND id = ?"
PAGE_SIZE: Final = (
    "SELECT length(page) FROM pages WHERE session = ? AND name = ? AND number = ?"
)
PUT_PAGE: Final = (
    "INSERT INTO pages (session, name, number, page) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (session, name, number) DO UPDATE SET page = excluded.page"
)
DROP_PAGE: Final = "DELETE FROM pages WHERE session = ? AND name = ? AND number = ?"
PAGED: Final = "UPDATE sessions SET paged = paged + ?, size = size + ? WHERE number = ?"
TOUCH: Final = "UPDATE sessions SET expires_at = ? WHERE space = ? AND id = ?"
DELETE: Final = "DELETE FROM sessions WHERE number = ?"
DROP_PAGES: Final = "DELETE FROM pages WHERE session = ?"

# -- putting aside ---------------------------------------------------------------------

PUT_ASIDE: Final = (
    "INSERT INTO broken (space, id, version, at, record)"
    " SELECT space, id, version, ?, record FROM sessions WHERE number = ?"
)
PAGES_ASIDE: Final = "UPDATE pages SET session = -? WHERE session = ?"
OLD_BROKEN: Final = (
    "SELECT number FROM broken WHERE number <="
    " (SELECT number FROM broken ORDER BY number DESC LIMIT 1 OFFSET ?)"
)
FORGET_BROKEN: Final = "DELETE FROM broken WHERE number = ?"

# -- reading ---------------------------------------------------------------------------

READ: Final = (
    "SELECT s.version, CAST(s.record AS BLOB), s.expires_at, s.size, o.owner,"
    " o.expires_at FROM sessions s"
    " LEFT JOIN claims c ON c.space = s.space AND c.id = s.id"
    " LEFT JOIN owners o ON o.space = c.space AND o.owner = c.owner"
    " WHERE s.space = ? AND s.id = ?"
)
PAGES: Final = (
    "SELECT p.number, CAST(p.page AS BLOB) FROM sessions s"
    " JOIN pages p ON p.session = s.number"
    " WHERE s.space = ? AND s.id = ? AND p.name = ? AND p.number IN ({marks})"
)
# Those that somebody who is alive has are left out.
DUE: Final = (
    "SELECT s.id FROM sessions s WHERE s.space = ? AND s.expires_at <= ?"
    " AND NOT EXISTS (SELECT 1 FROM claims c JOIN owners o ON o.space = c.space"
    " AND o.owner = c.owner WHERE c.space = s.space AND c.id = s.id"
    " AND o.expires_at > ?) ORDER BY s.expires_at LIMIT ?"
)
NEXT_DUE: Final = (
    "SELECT s.expires_at FROM sessions s WHERE s.space = ?"
    " AND s.expires_at IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM claims c JOIN owners o ON o.space = c.space"
    " AND o.owner = c.owner WHERE c.space = s.space AND c.id = s.id"
    " AND o.expires_at > ?) ORDER BY s.expires_at LIMIT 1"
)
COUNT: Final = (
    "SELECT count(*), total(size) FROM sessions INDEXED BY sessions_end WHERE space = ?"
)
# Of the few that somebody has; counting those that nobody has looks at each.
COUNT_HELD: Final = (
    "SELECT count(*), total(s.size) FROM claims c JOIN owners o ON o.space = c.space"
    " AND o.owner = c.owner JOIN sessions s ON s.space = c.space AND s.id = c.id"
    " WHERE c.space = ? AND o.expires_at > ?"
)
IDS: Final = "SELECT id FROM sessions WHERE space = ? ORDER BY number"
SPACE: Final = "SELECT number FROM spaces WHERE name = ?"
NEW_SPACE: Final = (
    "INSERT INTO spaces (name) SELECT ?"
    " WHERE NOT EXISTS (SELECT 1 FROM spaces WHERE name = ?)"
)
