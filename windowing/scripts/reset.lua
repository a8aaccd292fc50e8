-- Let a partition hold nothing but a starting position, or nothing at all.
-- KEYS: meta, panes, profiles, then the lists of the panes    ARGV: epoch, at, state, layout
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 'fenced' end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
-- the epoch stays: were it to begin anew, a worker that hung all the while might meet its own number again
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'at', ARGV[2], 'state', ARGV[3], 'layout', ARGV[4], 'by', ARGV[1])
end
return 'done'
