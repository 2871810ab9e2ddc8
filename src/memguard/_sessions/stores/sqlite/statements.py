"""
The statements of the verbs. `?1` is the number of the space nearly everywhere.
"""

from __future__ import annotations

from typing import Final

# -- owners ----------------------------------------------------------------------------

JOIN: Final = (
    "INSERT INTO owners (space, owner, expires_at) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (space, owner) DO UPDATE SET expires_at = excluded.expires_at"
)
BEAT: Final = (
    "UPDATE owners SET expires_at = ?3"
    " WHERE space = ?1 AND owner = ?2 AND expires_at > ?4"
)
OWNERS: Final = "SELECT owner, expires_at FROM owners WHERE space = ?1"
OTHERS: Final = "SELECT EXISTS (SELECT 1 FROM owners WHERE space = ?1 AND owner <> ?2)"
LEASE: Final = "SELECT expires_at FROM owners WHERE space = ?1 AND owner = ?2"
END_OWNER: Final = "DELETE FROM owners WHERE space = ?1 AND owner = ?2"
END_CLAIMS: Final = "DELETE FROM claims WHERE space = ?1 AND owner = ?2"
END_WANTS: Final = "DELETE FROM wants WHERE space = ?1 AND owner = ?2"
FORGET_WANTS: Final = "DELETE FROM wants WHERE space = ?1 AND at <= ?2"
HAD: Final = (
    "SELECT count(*) FROM claims c JOIN sessions s ON s.space = c.space"
    " AND s.id = c.id WHERE c.space = ?1 AND c.owner = ?2"
)

# -- one session -----------------------------------------------------------------------

# All that a claim has to know, in one row: the lease of who claims, who has the
# session with its lease, what others and who claims wanted, and what is stored.
STATE: Final = (
    "SELECT (SELECT expires_at FROM owners WHERE space = ?1 AND owner = ?3),"
    " c.owner, (SELECT expires_at FROM owners WHERE space = ?1 AND owner = c.owner),"
    " (SELECT max(at) FROM wants WHERE space = ?1 AND id = ?2 AND owner <> ?3),"
    " (SELECT at FROM wants WHERE space = ?1 AND id = ?2 AND owner = ?3),"
    " s.version, CASE WHEN s.version = ?4 THEN NULL ELSE CAST(s.record AS BLOB) END"
    " FROM (SELECT 1) LEFT JOIN claims c ON c.space = ?1 AND c.id = ?2"
    " LEFT JOIN sessions s ON s.space = ?1 AND s.id = ?2"
)
CLAIM: Final = "INSERT INTO claims (space, id, owner) VALUES (?1, ?2, ?3)"
RELEASE: Final = "DELETE FROM claims WHERE space = ?1 AND id = ?2 AND owner = ?3"
WANT: Final = "INSERT OR REPLACE INTO wants (space, id, owner, at) VALUES (?, ?, ?, ?)"
UNWANT: Final = "DELETE FROM wants WHERE space = ?1 AND id = ?2 AND owner = ?3"
WANTED: Final = (
    "SELECT DISTINCT w.id FROM wants w JOIN claims c ON c.space = w.space"
    " AND c.id = w.id WHERE w.space = ?1 AND c.owner = ?2 AND w.owner <> ?2"
    " AND w.at > ?3"
)

# -- writing ---------------------------------------------------------------------------

MINE: Final = (
    "SELECT expires_at, EXISTS (SELECT 1 FROM claims"
    " WHERE space = ?1 AND id = ?3 AND owner = ?2)"
    " FROM owners WHERE space = ?1 AND owner = ?2"
)
HAS: Final = "SELECT 1 FROM claims WHERE space = ?1 AND id = ?2 AND owner = ?3"
PUT: Final = (
    "INSERT INTO sessions (space, id, version, expires_at, size, record)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (space, id) DO UPDATE SET"
    " version = excluded.version, expires_at = excluded.expires_at,"
    " size = excluded.size + paged, record = excluded.record"
)
NUMBER: Final = "SELECT number FROM sessions WHERE space = ?1 AND id = ?2"
PAGE_SIZE: Final = (
    "SELECT length(page) FROM pages WHERE session = ?1 AND name = ?2 AND number = ?3"
)
PUT_PAGE: Final = (
    "INSERT INTO pages (session, name, number, page) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (session, name, number) DO UPDATE SET page = excluded.page"
)
DROP_PAGE: Final = "DELETE FROM pages WHERE session = ?1 AND name = ?2 AND number = ?3"
PAGED: Final = (
    "UPDATE sessions SET paged = paged + ?2, size = size + ?2 WHERE number = ?1"
)
TOUCH: Final = "UPDATE sessions SET expires_at = ?3 WHERE space = ?1 AND id = ?2"
DELETE: Final = "DELETE FROM sessions WHERE number = ?1"
DROP_PAGES: Final = "DELETE FROM pages WHERE session = ?1"

# -- putting aside ---------------------------------------------------------------------

PUT_ASIDE: Final = (
    "INSERT INTO broken (space, id, version, at, record)"
    " SELECT space, id, version, ?2, record FROM sessions WHERE number = ?1"
)
PAGES_ASIDE: Final = "UPDATE pages SET session = -?2 WHERE session = ?1"
OLD_BROKEN: Final = (
    "SELECT number FROM broken WHERE number <="
    " (SELECT number FROM broken ORDER BY number DESC LIMIT 1 OFFSET ?1)"
)
FORGET_BROKEN: Final = "DELETE FROM broken WHERE number = ?1"

# -- reading ---------------------------------------------------------------------------

READ: Final = (
    "SELECT s.version, CAST(s.record AS BLOB), s.expires_at, s.size, o.owner,"
    " o.expires_at FROM sessions s"
    " LEFT JOIN claims c ON c.space = s.space AND c.id = s.id"
    " LEFT JOIN owners o ON o.space = c.space AND o.owner = c.owner"
    " WHERE s.space = ?1 AND s.id = ?2"
)
PAGES: Final = (
    "SELECT p.number, CAST(p.page AS BLOB) FROM sessions s"
    " JOIN pages p ON p.session = s.number"
    " WHERE s.space = ? AND s.id = ? AND p.name = ? AND p.number IN ({marks})"
)
# Those that somebody who is alive has are left out.
DUE: Final = (
    "SELECT s.id FROM sessions s WHERE s.space = ?1 AND s.expires_at <= ?3"
    " AND NOT EXISTS (SELECT 1 FROM claims c JOIN owners o ON o.space = c.space"
    " AND o.owner = c.owner WHERE c.space = s.space AND c.id = s.id"
    " AND o.expires_at > ?2) ORDER BY s.expires_at LIMIT ?4"
)
NEXT_DUE: Final = (
    "SELECT s.expires_at FROM sessions s WHERE s.space = ?1"
    " AND s.expires_at IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM claims c JOIN owners o ON o.space = c.space"
    " AND o.owner = c.owner WHERE c.space = s.space AND c.id = s.id"
    " AND o.expires_at > ?2) ORDER BY s.expires_at LIMIT 1"
)
COUNT: Final = (
    "SELECT count(*), total(size) FROM sessions INDEXED BY sessions_end"
    " WHERE space = ?1"
)
# Of the few that somebody has; counting those that nobody has looks at each.
COUNT_HELD: Final = (
    "SELECT count(*), total(s.size) FROM claims c JOIN owners o ON o.space = c.space"
    " AND o.owner = c.owner JOIN sessions s ON s.space = c.space AND s.id = c.id"
    " WHERE c.space = ?1 AND o.expires_at > ?2"
)
IDS: Final = "SELECT id FROM sessions WHERE space = ?1 ORDER BY number"
SPACE: Final = "SELECT number FROM spaces WHERE name = ?1"
NEW_SPACE: Final = (
    "INSERT INTO spaces (name) SELECT ?1"
    " WHERE NOT EXISTS (SELECT 1 FROM spaces WHERE name = ?1)"
)
