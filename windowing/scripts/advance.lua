-- Move a partition from where a cycle began to where it ends, once.
-- KEYS: meta, panes, profiles, then one key for each append and each drop
-- ARGV: epoch, begin, end, state, number of appends, number of drops, habits (empty: as they are),
--       pane and blob for each append, pane for each drop, then user and blob for each profile
local held = redis.call('HMGET', KEYS[1], 'epoch', 'at', 'by')
if held[1] ~= ARGV[1] then return 'fenced' end
-- the reply to an earlier try was lost: all of it is there
if held[2] == ARGV[3] and held[3] == ARGV[1] then return 'done' end
if held[2] ~= ARGV[2] then return 'stale' end
local appends, drops, arg, key = tonumber(ARGV[5]), tonumber(ARGV[6]), 8, 4
for _ = 1, appends do
  redis.call('SADD', KEYS[2], ARGV[arg])
  redis.call('RPUSH', KEYS[key], ARGV[arg + 1])
  arg, key = arg + 2, key + 1
end
for _ = 1, drops do
  redis.call('SREM', KEYS[2], ARGV[arg])
  -- UNLINK: a pane may be large, and freeing it must not hold up the others
  redis.call('UNLINK', KEYS[key])
  arg, key = arg + 1, key + 1
end
while arg <= #ARGV do
  -- Lua's stack bounds how many arguments one call may carry
  local upto = math.min(arg + 1999, #ARGV)
  redis.call('HSET', KEYS[3], unpack(ARGV, arg, upto))
  arg = upto + 1
end
redis.call('HSET', KEYS[1], 'at', ARGV[3], 'state', ARGV[4], 'by', ARGV[1])
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'habits', ARGV[7]) end
return 'done'
