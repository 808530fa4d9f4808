-- What makes wrk pipeline: a request that is several. wrk counts every answer, and takes the time of the last.
local batch
init = function(args)
  local one = {}
  for i = 1, tonumber(args[1]) do one[i] = wrk.format() end
  batch = table.concat(one)
end
request = function() return batch end
