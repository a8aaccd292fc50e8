-- Write the starting position of a partition that nobody has read yet.
-- KEYS: meta    ARGV: epoch, at, state
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 'fenced' end
redis.call('HSET', KEYS[1], 'at', ARGV[2], 'state', ARGV[3], 'by', ARGV[1])
return 'done'
