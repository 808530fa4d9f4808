-- What makes each of wrk's threads ask for one path after the other.
local requests, at = {}, 0
init = function(args) for i, path in ipairs(args) do requests[i] = wrk.format(nil, path) end end
request = function()
  at = at % #requests + 1
  return requests[at]
end
