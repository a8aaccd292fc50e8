-- Take a person out of a partition's state, if nothing of it has changed since it was looked at.
-- KEYS: meta, profiles, then one key for each blob that is replaced
-- ARGV: epoch, at, whether this is the last step, new at, new state, number of blobs, index and blob for each, then users
local held = redis.call('HMGET', KEYS[1], 'epoch', 'at')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then return 'stale' end
local blobs, arg = tonumber(ARGV[6]), 7
for place = 1, blobs do
  redis.call('LSET', KEYS[place + 2], ARGV[arg], ARGV[arg + 1])
  arg = arg + 2
end
if ARGV[3] == '0' then return 'done' end
while arg <= #ARGV do
  redis.call('HDEL', KEYS[2], ARGV[arg])
  arg = arg + 1
end
redis.call('HSET', KEYS[1], 'at', ARGV[4], 'state', ARGV[5])
-- whoever holds the partition has the person in memory: it is fenced at its next write, and reads the state anew
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return 'done'
