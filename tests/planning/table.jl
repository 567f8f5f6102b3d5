{"a":1,"n":"one","m":[1]}
{"a":"1","n":"text"}
{"a":2,"m":{"x":null}}
{"a":true,"n":null}
{"a":null,"n":0}
