-- What makes requests come from many addresses of 10.0.0.0/8, each of wrk's threads from every second one.
local threads = 0
setup = function(thread) thread:set("first", threads) threads = threads + 1 end
local most, next
init = function(args) most = tonumber(args[1]) next = first end
request = function()
  next = (next + 2) % most
  local high, low = math.floor(next / 250) % 250, next % 250
  return wrk.format(nil, nil, { ["X-Forwarded-For"] = "10." .. math.floor(next / 62500) .. "." .. high .. "." .. low })
end
