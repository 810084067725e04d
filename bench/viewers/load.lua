-- wrk's load: applications and endpoints drawn at random, each request formatted once. HEADER names the header that says which
-- application calls; APPLICATIONS and ENDPOINTS are how many there are.
local requests = {}

function init(args)
  math.randomseed(tonumber(tostring({}):match("0x(%x+)"), 16) % 2147483647)
  for a = 0, tonumber(os.getenv("APPLICATIONS")) - 1 do
    for e = 0, tonumber(os.getenv("ENDPOINTS")) - 1 do
      requests[#requests + 1] = wrk.format("GET", "/v1/ep" .. e, { [os.getenv("HEADER")] = "app" .. a, ["Host"] = "api.local" })
    end
  end
end

function request() return requests[math.random(#requests)] end

function done(summary, latency, rates)
  local e = summary.errors
  io.write(string.format('MEASURED %d %d %d\n', summary.requests, summary.duration, e.status + e.connect + e.read + e.write + e.timeout))
end
