-- Become the owner of a partition: raise its epoch, tell where it stands.
-- KEYS: meta, panes    ARGV: layout
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSETNX', KEYS[1], 'layout', ARGV[1])
local held = redis.call('HMGET', KEYS[1], 'layout', 'at', 'state', 'habits')
return {epoch, held[1], held[2] or '', held[3] or '', redis.call('SMEMBERS', KEYS[2]), held[4] or ''}
