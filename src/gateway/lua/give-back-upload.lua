-- Counts an upload as its owner's no more. KEYS: as uploads.lua has them. ARGV: id.
--- @include "uploads.lua"
forget(ARGV[1])
