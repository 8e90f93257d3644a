# A Rack app. Any path: "ok". With ?seconds=S: the same after S seconds, and "slow begins" on stdout when it begins.
run(lambda do |env|
  seconds = env['QUERY_STRING'][/seconds=([\d.]+)/, 1]
  if seconds
    $stdout.syswrite("slow begins\n")
    sleep(seconds.to_f)
  end
  [200, { 'Content-Type' => 'text/plain', 'Content-Length' => '2' }, ['ok']]
end)
